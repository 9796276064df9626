"""How much memory the model will take, before a weight is read.

Arrays are lazy: a load that only builds the model takes next to nothing, and the memory is
taken when the arrays are first computed. What it comes to is known from headers: at the end of
a lazy load the process has its libraries and what construction and companions have computed
already; computing the rest adds the bytes of the tensors that the model was given (after
sanitize, which may cast them) and, since MLX frees what nobody holds, hardly more. Quantised on
the fly, each weight is needed for a moment only, but MLX computes ahead: a share of the whole
weights is there at once beside the quantised ones. ``tests/benchmarks/memory.py`` measures how
far that is from what a process really takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.tensors import DTYPE_BITS, TensorInfo
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("memory_forecast")
#: What ``mlx_audio.convert`` quantises to unless told otherwise.
_BITS, _GROUP = 4, 64
#: Part of the weights to be quantised that is there as a whole at once, as measured: 0.2 to 0.33 (MLX 0.32, CPU).
_AHEAD = 0.27


def collect(
    memory: WorkingMemory, table: Mapping[str, TensorInfo], run: LoadRun, config: Mapping[str, Any] | None
) -> None:
    """Assert memory_forecast. ``table`` has the tensors of the files that the loader reads."""
    stored = sum(map(_bytes, table.values()))
    given = run.given_bytes or stored
    base = max((step.get("peak_memory") or 0 for step in run.steps.values()), default=0)
    peak = base + given
    interpreter, backend = memory.one("interpreter"), memory.one("backend")
    physical = _whole(interpreter["memory_bytes"]) if interpreter is not None else None
    working_set = _whole(backend["working_set_bytes"]) if backend is not None else None
    buffer = _whole(backend["buffer_bytes"]) if backend is not None else None
    largest = max(table, key=lambda name: _bytes(table[name]), default=None)
    bits, group = _setting(config, "bits", _BITS), _setting(config, "group_size", _GROUP)
    quantized = {name: quantized_bytes(name, tensor, bits, group) for name, tensor in table.items()}
    whole = sum(_bytes(table[name]) for name, size in quantized.items() if size != _bytes(table[name]))
    after = sum(quantized.values())
    plain = not any(name.endswith(".scales") for name in table)
    memory.add(
        "memory_forecast",
        _HERE,
        basis="lazy load" if run.loads else "headers",
        stored_bytes=stored,
        given_bytes=given,
        base_bytes=base,
        peak_bytes=peak,
        quantized_bytes=after if plain else None,
        quantizing_peak_bytes=base + after + int(_AHEAD * whole) if plain else None,
        largest=largest,
        largest_bytes=_bytes(table[largest]) if largest is not None else 0,
        share_of_memory=round(peak / physical, 3) if physical else None,
        share_of_working_set=round((given + (run.active or 0)) / working_set, 3) if working_set else None,
        share_of_buffer=round(_bytes(table[largest]) / buffer, 3) if buffer and largest is not None else None,
        memory=_spoken(physical),
        peak=_spoken(peak),
        weights=_spoken(given),
        quantized=_spoken(base + after) if plain else None,
        working_set=_spoken(working_set),
    )


def quantized_bytes(name: str, tensor: TensorInfo, bits: int, group: int) -> int:
    """Bytes of a tensor after ``nn.quantize``: packed, with a scale and a bias a group; others stay as they are.

    Quantised are the weights of linear layers and embeddings whose rows are whole groups.
    """
    if not name.endswith(".weight") or len(tensor.shape) != 2 or tensor.shape[-1] % group:
        return _bytes(tensor)
    scale = DTYPE_BITS.get(tensor.dtype, 16)
    return tensor.elements * bits // 8 + 2 * (tensor.elements // group) * scale // 8


def _bytes(tensor: TensorInfo) -> int:
    return tensor.elements * DTYPE_BITS.get(tensor.dtype, 16) // 8


def _setting(config: Mapping[str, Any] | None, name: str, default: int) -> int:
    block = (config or {}).get("quantization") or (config or {}).get("quantization_config")
    value = block.get(name) if isinstance(block, dict) else None
    return value if type(value) is int and 0 < value <= 1024 else default


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _spoken(size: int | None) -> str | None:
    """``6.2 GB``, as disks and files are measured."""
    if size is None:
        return None
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
