"""Tensors of the checkpoint that the model's own ``sanitize`` takes away.

Much of it is meant (buffers, a codec that is loaded elsewhere). Not meant is the loss of what
the model wants, and above all of ``.scales`` and ``.biases`` while the packed weight stays:
mlx-audio quantises the layers for which there are scales
(``mlx_audio/utils.py::apply_quantization``), so without them a packed weight meets a plain layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlx_diagnose.collectors.tensors import TensorTable

_METADATA = (".scales", ".biases")


@dataclass(frozen=True, slots=True)
class Loss:
    """A tensor that sanitize took away. ``metadata``: scales or biases of a packed weight that stayed."""

    name: str
    metadata: bool
    wanted: bool


def find_losses(
    stored: TensorTable, sanitized: TensorTable, model: TensorTable | None, names: Mapping[str, str]
) -> list[Loss]:
    """What of ``stored`` is not in ``sanitized``, under ``names`` (stored name to name after sanitize).

    Tensors that sanitize joined into another (query, key and value, the two halves of a
    normalised weight) are no losses: what is new beside them stands for them.
    """
    targets = set(names.values())
    new = _Modules(name for name in sanitized if name not in stored and name not in targets)
    moved = _moved_modules(names)
    return list(_losses(stored, sanitized, model or {}, names, new, moved))


def _losses(
    stored: TensorTable,
    sanitized: TensorTable,
    model: TensorTable,
    names: Mapping[str, str],
    new: _Modules,
    moved: Mapping[str, str],
) -> Iterator[Loss]:
    for name in stored:
        if name in names:
            continue
        packed = f"{name.rpartition('.')[0]}.weight"
        if name.endswith(_METADATA) and packed in names and stored[packed].dtype == "uint32":
            kept = sanitized.get(names[packed])
            if kept is not None and kept.dtype == "uint32":
                yield Loss(name, True, names[packed] in model)
                continue
        target = _after(name, moved)
        if not new.beside(target.rpartition(".")[0]):
            yield Loss(name, False, target in model and target not in sanitized)


class _Modules:
    """Modules, and the modules that hold them, of the tensors that sanitize made."""

    def __init__(self, names: Iterable[str]) -> None:
        self._modules: set[str] = set()
        for name in names:
            module = name.rpartition(".")[0]
            self._modules.add(module)
            self._modules.add(module.rpartition(".")[0])

    def beside(self, module: str) -> bool:
        """Something was made in this module or in one beside it."""
        parent = module.rpartition(".")[0]
        return bool(module) and (module in self._modules or (bool(parent) and parent in self._modules))


def _moved_modules(names: Mapping[str, str]) -> dict[str, str]:
    """What modules are called after sanitize, told by the tensors in them."""
    moved: dict[str, str] = {}
    for old, now in names.items():
        while old and now not in ("", old) and old.rpartition(".")[2] == now.rpartition(".")[2]:
            old, now = old.rpartition(".")[0], now.rpartition(".")[0]
            if old in moved:
                break
            moved[old] = now
    return moved


def _after(name: str, moved: Mapping[str, str]) -> str:
    """What ``name`` would be called after sanitize, going by its module or the nearest one that holds it."""
    module, rest = name.rpartition(".")[0], name.rpartition(".")[2]
    while True:
        if module in moved:
            return f"{moved[module]}.{rest}" if moved[module] else rest
        if not module:
            return name
        module, _, part = module.rpartition(".")
        rest = f"{part}.{rest}"
