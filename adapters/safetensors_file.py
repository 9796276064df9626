"""Headers of safetensors files for the rewriter: where each tensor lies, and the header of a new file.

A file is ``<u64 header length><JSON header><body>``; offsets count from the start of the body.
What is read here was found sound by the collectors before.
Format: https://huggingface.co/docs/safetensors (Format).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.tensors import DTYPE_BITS, SAFETENSORS_DTYPES, safetensors_dtype
from mlx_diagnose.engine.model import DiagnoseError, ExitCode

#: The longest header that safetensors and MLX take, in bytes.
MAX_HEADER = 100_000_000


class UnwritableError(DiagnoseError):
    """A mend cannot be written: exit 5. Nothing of it is left behind, and the original is as it was."""

    exit_code = ExitCode.NO_VERIFIED_FIX


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored tensor: type in MLX's spelling, shape, and the bytes ``start`` to ``end`` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of a file by name, in the order of its header, and its ``__metadata__``."""

    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str] | None


def read_header(path: Path) -> Header:
    """The header of the file at ``path``. Raises UnwritableError where it is none, OSError where it cannot be read."""
    with path.open("rb") as file:
        first = file.read(8)
        length = int.from_bytes(first, "little")
        text = file.read(length) if len(first) == 8 and length <= MAX_HEADER else b""
        size = file.seek(0, 2)
    try:
        document: dict[str, Any] = json.loads(text)
        metadata = document.pop("__metadata__", None)
        tensors = {name: _entry(entry, 8 + length, size) for name, entry in document.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnwritableError(
            "unreadable-weights",
            f"{path.name} cannot be rewritten.",
            why=f"Its header is not that of a safetensors file: {error}.",
            next_step="Download the file again.",
        ) from None
    return Header(tensors, metadata)


def _entry(entry: Mapping[str, Any], body: int, size: int) -> Entry:
    start, end = (body + offset for offset in entry["data_offsets"])
    dtype, shape = SAFETENSORS_DTYPES[entry["dtype"]], tuple(entry["shape"])
    if not body <= start <= end <= size or (end - start) * 8 != prod(shape) * DTYPE_BITS[dtype]:
        raise ValueError("a tensor does not lie where the header says")
    return Entry(dtype, shape, start, end)


def byte_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes that a tensor takes. Raises KeyError for an unknown type."""
    return prod(shape) * DTYPE_BITS[dtype] // 8


def new_header(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str] | None
) -> tuple[bytes, dict[str, Entry]]:
    """The beginning of a file that holds ``tensors`` (type, shape) in their order, and where each will lie."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    places: dict[str, tuple[int, int]] = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + byte_size(dtype, shape)
        places[name] = start, end
        header[name] = {"dtype": safetensors_dtype(dtype), "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the body starts aligned
    body = 8 + len(text)
    entries = {
        name: Entry(dtype, shape, body + places[name][0], body + places[name][1])
        for name, (dtype, shape) in tensors.items()
    }
    return struct.pack("<Q", len(text)) + text, entries
