"""Cost of reading headers, collapsing names and comparing tables: in proportion to the number of tensors.

No absolute times: ten times the tensors may cost at most thirty times the processor time, which
a quadratic step would exceed by far and a busy machine does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import checkpoint, quantization, safetensors_header, weights_difference
from mlx_diagnose.collectors.tensor_names import collapse
from mlx_diagnose.collectors.tensors import TensorInfo, TensorTable
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.specimen import Tensor, write_safetensors

SMALL, LARGE = 10_000, 100_000
LIMIT = 30.0

_PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "norm", "router", "bias_proj")


def names(count: int, prefix: str = "") -> list[str]:
    """``count`` names of a mixture-of-experts model: layers, experts, ten tensors each."""
    return [
        f"{prefix}layers.{layer}.experts.{expert}.{part}.weight"
        for layer in range(count // 1000)
        for expert in range(100)
        for part in _PARTS
    ]


def table(count: int, prefix: str = "") -> TensorTable:
    return {name: TensorInfo("float32", (64, 64 + len(name) % 7)) for name in names(count, prefix)}


def read_header(directory: Path, count: int) -> Callable[[], object]:
    path = directory / f"{count}.safetensors"
    tensors: dict[str, Tensor] = dict.fromkeys(names(count), ("BF16", (64, 64)))
    write_safetensors(path, tensors)
    return lambda: safetensors_header.read(path)


def look_at_directory(directory: Path, count: int) -> Callable[[], object]:
    folder = directory / str(count)
    folder.mkdir()
    read_header(folder, count)
    return lambda: checkpoint.collect(WorkingMemory(), folder)


def collapse_names(directory: Path, count: int) -> Callable[[], object]:
    given = [(name, None) for name in names(count)]
    return lambda: collapse(given)


def compare_renamed(directory: Path, count: int) -> Callable[[], object]:
    received, model, stored = table(count), table(count, "language_model."), table(count, "model.")
    options: dict[str, Any] = {"stored": stored, "sanitized": received, "model": model, "strict": True, "raised": True}
    return lambda: weights_difference.collect(WorkingMemory(), **options)


def read_packing(directory: Path, count: int) -> Callable[[], object]:
    stored: dict[str, TensorInfo] = {}
    for name in names(count // 2):
        stored[name] = TensorInfo("uint32", (64, 8))
        stored[name.replace(".weight", ".scales")] = TensorInfo("float16", (64, 1))
    config = {"quantization": {"bits": 4, "group_size": 64}}
    return lambda: quantization.collect(WorkingMemory(), stored=stored, config=config)


WORK = [read_header, look_at_directory, collapse_names, compare_renamed, read_packing]


def seconds(work: Callable[[], object]) -> float:
    """Processor time of the better of two runs."""
    best = float("inf")
    for _ in range(2):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.long
@pytest.mark.parametrize("prepare", WORK, ids=lambda prepare: prepare.__name__)
def test_cost_grows_with_the_number_of_tensors(
    prepare: Callable[[Path, int], Callable[[], object]], tmp_path: Path
) -> None:
    small, large = seconds(prepare(tmp_path, SMALL)), seconds(prepare(tmp_path, LARGE))
    assert large < LIMIT * max(small, 0.001), f"{LARGE} tensors take {large / small:.0f} times as long as {SMALL}"


@pytest.mark.parametrize("prepare", WORK, ids=lambda prepare: prepare.__name__)
def test_ten_thousand_tensors(
    benchmark: Any, prepare: Callable[[Path, int], Callable[[], object]], tmp_path: Path
) -> None:
    benchmark(prepare(tmp_path, SMALL))
