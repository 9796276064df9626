"""``.npz`` files as NumPy and MLX write them, of any size, without either."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

_CODES = {"F32": ("<f4", 4), "F16": ("<f2", 2), "BF16": ("|V2", 2), "U32": ("<u4", 4), "O": ("|O", 8)}


def npy_header(dtype: str, shape: Sequence[int]) -> bytes:
    """The header of one array; ``dtype`` as safetensors writes it, O for pickled objects."""
    text = f"{{'descr': '{_CODES[dtype][0]}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    length = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1).encode() + b"\n"


def write_npz(
    path: Path, arrays: Mapping[str, tuple[str, Sequence[int]]], *, compressed: bool = False, comment: bytes = b""
) -> None:
    """Arrays of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.comment = comment
        for name, (dtype, shape) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(npy_header(dtype, shape))
                left = prod(shape) * _CODES[dtype][1]
                while left:
                    left -= member.write(bytes(min(left, 1 << 20)))


def from_safetensors(directory: Path) -> Path:
    """The arrays of the safetensors files in ``directory`` as weights.npz, which replaces them."""
    arrays = {}
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        header.pop("__metadata__", None)
        arrays |= {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()}
        file.unlink()
    write_npz(directory / "weights.npz", arrays)
    return directory / "weights.npz"
