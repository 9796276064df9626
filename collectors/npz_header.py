"""Headers of ``.npz`` weights: a zip archive of ``.npy`` arrays, each with a header of its own.

Only those headers are read, with a pattern and no evaluator; nothing is ever unpickled.
Formats: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html and
APPNOTE.TXT of PKWARE. MLX writes bfloat16 as the two-byte void type ``V2`` and reads it back.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

from mlx_diagnose.collectors.tensors import DTYPE_BITS, TensorInfo
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.weights_file import WeightsFile, contents, examine

#: Bytes of the archive's directory and of one array's header that are read.
MAX_DIRECTORY = 1 << 25
MAX_HEADER = 1 << 16

_DTYPES = {
    "b1": "bool",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "V2": "bfloat16",
}

_FIELDS = re.compile(
    r"\{\s*'descr':\s*(?P<dtype>'[^']{1,40}'|\[.*\]),\s*'fortran_order':\s*(?:True|False),\s*"
    r"'shape':\s*\((?P<shape>[0-9,\s]{0,400})\),?\s*\}\s*",
    re.DOTALL,
)
_AXES = re.compile(r"\s*(?:[0-9]{1,18}\s*(?:,\s*[0-9]{1,18}\s*)*,?\s*)?")
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    LookupError,
    struct.error,
)


class _Unusable(Exception):
    """An array that is not usable: the state of the file, and what is wrong."""


def read(path: Path, file: str | None = None) -> WeightsFile:
    """The npz file at ``path``, called ``file`` in the result (its name, if not given). Never raises."""
    return examine(path, path.name if file is None else file, "npz", parse)


def parse(stream: BinaryIO, size: int) -> WeightsFile:
    """The npz file of ``size`` bytes open as ``stream``, without a name. Raises nothing but OSError."""

    def result(state: str, detail: str) -> WeightsFile:
        return WeightsFile("", "npz", state, size, detail=detail)

    first = stream.read(512)
    if not first.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        what = contents(first)
        return result("header-corrupt", f"it is not a zip archive but {what}" if what else "it is not a zip archive")
    directory = _directory_size(stream, size)
    if directory is None:
        return result("truncated", "the archive has no directory at its end")
    if directory > MAX_DIRECTORY:
        return result(
            "header-too-large", f"the archive's directory claims {directory} bytes; the limit is {MAX_DIRECTORY}"
        )
    tensors: dict[str, TensorInfo] = {}
    state, detail = "ok", None
    stream.seek(0)
    try:
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                try:
                    info = _array(archive, member)
                except _Unusable as error:
                    # Arrays that MLX refuses do not hide the rest.
                    state, detail = error.args
                    continue
                tensors[member.filename.removesuffix(".npy")] = info
    except _BROKEN as error:
        return result("header-corrupt", f"the archive cannot be read: {clean(str(error), 200)}")
    return WeightsFile("", "npz", state, size, None, tensors, detail)


def _directory_size(stream: BinaryIO, size: int) -> int | None:
    """Bytes that the archive's central directory claims, None where there is no end record."""
    start = max(0, size - 66_000)
    stream.seek(start)
    tail = stream.read(66_000)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        return None
    claimed = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if large >= 0 and len(tail) >= large + 48:
        claimed = max(claimed if claimed != 0xFFFFFFFF else 0, int.from_bytes(tail[large + 40 : large + 48], "little"))
    return claimed


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> TensorInfo:
    name = clean(member.filename, 200)
    with archive.open(member) as stream:
        first = stream.read(12)
        wide = first[6:7] in (b"\x02", b"\x03")
        if not first.startswith(b"\x93NUMPY") or first[6:7] not in (b"\x01", b"\x02", b"\x03") or len(first) < 12:
            raise _Unusable("header-corrupt", f"{name} is not a NumPy array")
        length = int.from_bytes(first[8:12] if wide else first[8:10], "little")
        if length > MAX_HEADER:
            raise _Unusable("header-corrupt", f"{name} claims a header of {length} bytes")
        start = 12 if wide else 10
        header = (first[start:] + stream.read(max(0, length - (12 - start))))[:length]
    found = _FIELDS.fullmatch(header.decode("utf-8" if first[6:7] == b"\x03" else "latin-1"))
    if len(header) < length or found is None or _AXES.fullmatch(found["shape"]) is None:
        raise _Unusable("header-corrupt", f"the header of {name} is not valid")
    text = found["dtype"].strip("'").lstrip("<>|=")
    dtype = _DTYPES.get(text)
    if dtype is None:
        what = "pickled Python objects" if text.startswith("O") else f"type {clean(text, 40)}"
        raise _Unusable("unsupported-dtype", f"{name} holds {what}, which MLX does not read")
    shape = tuple(int(axis) for axis in found["shape"].split(",") if axis.strip())
    needed = start + length + prod(shape) * DTYPE_BITS[dtype] // 8
    if member.file_size < needed:
        raise _Unusable("truncated", f"{name} has {member.file_size} bytes, its shape {shape} needs {needed}")
    return TensorInfo(dtype, shape)
