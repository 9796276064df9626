"""Small safetensors directories for the tests of what is written, and how they are read back with NumPy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = Mapping[str, "np.ndarray[Any, Any]"]
#: Types of the format by that of NumPy; BF16 is read and written as the bits that it has.
_NAMES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int8": "I8", "float64": "F64", "uint32": "U32"}
_TYPES = {stored: np.dtype(name) for name, stored in _NAMES.items()}


def write(path: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file that holds ``arrays`` in their order."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    body = b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a safetensors file, in the order of its header."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[start + first : start + last], _TYPES[entry["dtype"]])
        found[name] = values.reshape(entry["shape"])
    return found


def arrays(count: int = 3, shape: tuple[int, ...] = (4, 3, 2)) -> dict[str, np.ndarray[Any, Any]]:
    """``model.layers.N.weight`` and ``.bias``, all values different."""
    made = {}
    for number in range(count):
        weight = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) + 100 * number
        made[f"model.layers.{number}.weight"] = weight
        made[f"model.layers.{number}.bias"] = (weight[:, 0, 0] + 0.5).astype(np.float16)
    return made
