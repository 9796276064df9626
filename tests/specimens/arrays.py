"""NumPy archives without NumPy."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_npz(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """An ``.npz`` of 32-bit float arrays of zeros, as ``numpy.savez`` writes it (format 1.0 of ``.npy``)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in shapes.items():
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}"
            header += " " * (-(len(header) + 11) % 64) + "\n"
            count = 1
            for axis in shape:
                count *= axis
            content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(4 * count)
            archive.writestr(f"{name}.npy", content)
