"""Tensors of types that MLX does not read, and the type that each is cast to.

MLX has no float64, and of the eight-bit floats it refuses some. A float64 was mostly something shorter
once, and its values say what: if all of a sample are bfloat16's, a cast to that loses nothing. Where they
are those of every type (zeros, ones), or of an eight-bit float, the types of other tensors decide, and the
values are the same in any case.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters.safetensors_file import UnwritableError, read_header
from mlx_diagnose.collectors.tensor_names import split_indices
from mlx_diagnose.collectors.tensors import TensorTable

#: What MLX refuses to read and we can convert, with the type that keeps the values.
NEAREST: Mapping[str, str] = {"float64": "float32", "float8_e5m2": "bfloat16"}
_FLOATS = ("bfloat16", "float16", "float32")
#: Values of a tensor that are looked at.
_SAMPLE = 4096
#: Different values among them from which on it is no chance that all fit in a shorter type.
_TELLING = 16
#: Endings of tensors by which the values of an eight-bit weight are to be multiplied.
_SCALES = ("_scale", "_scale_inv", "_scales", "_scale_2")

OTHER_TYPE = (
    "ambiguous: {nearest} keeps the values, {usual} is what most other tensors have, and nothing tells which is meant"
)
SCALED = (
    "it would hide a fault: there are scales beside these tensors, by which their values have to be multiplied, and a "
    "cast does not do that"
)


@dataclass(frozen=True, slots=True)
class Casting:
    """Tensors to be cast to ``dtype``, and any doubt that this is the right one."""

    dtype: str
    names: tuple[str, ...]
    doubt: str | None


def castings(stored: TensorTable, config: Mapping[str, Any], directory: Path, *, ghost: bool) -> Iterator[Casting]:
    """Every tensor of a type that MLX does not read, by the type that it is to have.

    ``ghost``: the values in ``directory`` are not those of the model.
    """
    exact = {} if ghost else _exact_types(stored, directory)
    known = {name: info.dtype for name, info in stored.items() if info.dtype in _FLOATS}
    known |= {name: types[0] for name, types in exact.items() if len(types) == 1}
    alike: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, dtype in known.items():
        alike[split_indices(name)[0]].add(dtype)
    counted = Counter(known.values())
    usual = counted.most_common(1)[0][0] if counted else _meant(config)
    groups: dict[tuple[str, str | None], list[str]] = {}
    for name, info in stored.items():
        nearest = NEAREST.get(info.dtype)
        if nearest is None:
            continue
        others = alike[split_indices(name)[0]]
        told = known.get(name) or (next(iter(others)) if len(others) == 1 else usual) or nearest
        doubt = None
        if info.dtype == "float64" and name not in exact and told != nearest:
            told, doubt = nearest, OTHER_TYPE.format(nearest=nearest, usual=told)
        elif info.dtype != "float64" and any(name + ending in stored for ending in _SCALES):
            doubt = SCALED
        groups.setdefault((told, doubt), []).append(name)
    for (dtype, doubt), names in groups.items():
        yield Casting(dtype, tuple(names), doubt)


def _meant(config: Mapping[str, Any]) -> str | None:
    """The type that config.json declares, if it is one for weights."""
    told = {str(config[key]).removeprefix("torch.") for key in ("torch_dtype", "dtype") if key in config}
    return told.pop() if len(told) == 1 and told <= set(_FLOATS) else None


def _exact_types(stored: TensorTable, directory: Path) -> dict[str, tuple[str, ...]]:
    """For each float64 the types that hold a sample of its values: all, or the shortest that does; float32 if none."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted({str(info.file) for info in stored.values() if info.dtype == "float64"}):
        path = directory / file
        try:
            entries = read_header(path).tensors
            with path.open("rb") as values:
                for name, entry in entries.items():
                    if entry.dtype == "float64":
                        values.seek(entry.start)
                        size = min(entry.end - entry.start, 8 * _SAMPLE)
                        found[name] = _holding(array("d", values.read(size)))
        except (OSError, ValueError, UnwritableError):
            continue
    return found


def _holding(values: array[float]) -> tuple[str, ...]:
    types = tuple(dtype for dtype in ("bfloat16", "float16") if all(_HOLDS[dtype](value) for value in values))
    if len(types) == 2 and len(set(values)) >= _TELLING:
        # A float16 has three bits more: that they are zero in so many by chance is out of the question.
        return ("bfloat16",)
    return types or ("float32",)


def _is_bfloat16(value: float) -> bool:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        return False
    return packed[:2] == b"\0\0" and (struct.unpack("<f", packed)[0] == value or math.isnan(value))


def _is_float16(value: float) -> bool:
    try:
        return bool(struct.unpack("<e", struct.pack("<e", value))[0] == value) or math.isnan(value)
    except OverflowError:
        return False


_HOLDS = {"bfloat16": _is_bfloat16, "float16": _is_float16}
