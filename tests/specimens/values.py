"""Values of one safetensors file put into another, under other names or with the axes in another order."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from mlx_diagnose.engine.specimen import ITEM_SIZES, Shape


def carry_over(source: Path, target: Path, origins: Mapping[str, tuple[str, tuple[int, ...] | None]]) -> None:
    """Fill tensors of ``target`` with values of ``source``: for each name, the name there and the axes to take.

    What the source does not have, or has in another size, is left as it is.
    """
    old, old_start = _header(source)
    new, new_start = _header(target)
    with source.open("rb") as values, target.open("r+b") as file:
        for name, (origin, axes) in origins.items():
            known, made = old.get(origin), new.get(name)
            if known is None or made is None or _size(known) != _size(made) or known["dtype"] != made["dtype"]:
                continue
            values.seek(old_start + known["data_offsets"][0])
            data = values.read(_size(known))
            if axes is not None:
                data = _transposed(data, ITEM_SIZES[known["dtype"]], tuple(known["shape"]), axes)
            place = new_start + made["data_offsets"][0]
            file.seek(place)
            if file.read(len(data)) != data:  # what is a hole in both stays one
                file.seek(place)
                file.write(data)


def fill(source: Path, target: Path, made: Mapping[str, Callable[[Callable[[str], bytes]], bytes]]) -> None:
    """Fill tensors of ``target`` with what the functions make of tensors of ``source``."""
    old, old_start = _header(source)
    new, new_start = _header(target)
    with source.open("rb") as values, target.open("r+b") as file:

        def read(name: str) -> bytes:
            values.seek(old_start + old[name]["data_offsets"][0])
            return values.read(_size(old[name]))

        for name, make in made.items():
            data = make(read)
            assert len(data) == _size(new[name]), name
            file.seek(new_start + new[name]["data_offsets"][0])
            file.write(data)


def widened(data: bytes, dtype: str) -> bytes:
    """Values of a floating type of safetensors as F64."""
    if dtype == "BF16":
        data, dtype = b"".join(b"\0\0" + data[at : at + 2] for at in range(0, len(data), 2)), "F32"
    code, size = {"F32": ("f", 4), "F16": ("e", 2)}[dtype]
    return struct.pack(f"<{len(data) // size}d", *struct.unpack(f"<{len(data) // size}{code}", data))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _size(entry: Mapping[str, Any]) -> int:
    start, end = entry["data_offsets"]
    return int(end) - int(start)


def _transposed(data: bytes, item: int, shape: Shape, axes: tuple[int, ...]) -> bytes:
    strides = [item] * len(shape)
    for axis in reversed(range(len(shape) - 1)):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    result = bytearray()
    for at in product(*(range(shape[axis]) for axis in axes)):
        start = sum(strides[axis] * index for axis, index in zip(axes, at, strict=True))
        result += data[start : start + item]
    return bytes(result)
