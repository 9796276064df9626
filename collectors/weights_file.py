"""One file that holds, or should hold, weights: what its header says, or why it cannot be read.

Opening is the same for every format and is done here: what is not a regular file is never
opened (a named pipe would block), and a Git LFS pointer is one in any format.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_LFS = b"version https://git-lfs.github.com/spec/"
#: A pointer has three short lines; git-lfs itself takes nothing longer for one.
_LFS_LIMIT = 1024

#: What a file turns out to be that was taken for weights by its name.
_CONTENTS: tuple[tuple[bytes, str], ...] = (
    (b"<!DOCTYPE", "an HTML page"),
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"PK\x03\x04", "a zip archive (as PyTorch and NumPy write)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a single NumPy array"),
)


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weights file as its header shows it; ``state`` as the fact ``weights_file`` defines it.

    ``tensors`` are those of the header, in its order; empty where the header is not sound.
    ``size`` and ``expected_size`` are bytes. ``tolerated``: MLX loads it although it is not sound.
    """

    file: str
    format: str
    state: str
    size: int = 0
    expected_size: int | None = None
    tensors: Mapping[str, TensorInfo] = field(default_factory=dict, repr=False)
    detail: str | None = None
    tolerated: bool = False

    @property
    def sound(self) -> bool:
        """MLX reads all of it."""
        return self.state == "ok" or self.tolerated


#: Reads a header from an open file of so many bytes.
Reader = Callable[[BinaryIO, int], WeightsFile]


def examine(path: Path, file: str, format: str, reader: Reader | None) -> WeightsFile:
    """The file at ``path``, called ``file`` in facts. Without ``reader`` its header is not examined.

    Whatever lies there, this returns; it allocates no more than ``reader`` does.
    """
    try:
        status = path.stat()
    except OSError as error:
        if path.is_symlink() and not isinstance(error, PermissionError):
            return WeightsFile(file, format, "dangling-link", detail=f"a link to {_target(path)}, which is not there")
        return WeightsFile(file, format, "unreadable", detail=_reason(error))
    except ValueError as error:
        return WeightsFile(file, format, "unreadable", detail=str(error))
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        return WeightsFile(file, format, "unreadable", detail=f"it is {what}")
    size = status.st_size
    if size == 0:
        return WeightsFile(file, format, "empty", detail="the file has no content")
    try:
        # Not buffered further than needed, and not blocking should it have become a pipe since.
        with open(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as stream:
            first = stream.read(_LFS_LIMIT)
            pointer = lfs_pointer(first, size)
            if pointer is not None:
                return replace(pointer, file=file, format=format)
            if reader is None:
                return WeightsFile(file, format, "not-examined", size=size)
            stream.seek(0)
            return replace(reader(stream, size), file=file, format=format, size=size)
    except OSError as error:
        return WeightsFile(file, format, "unreadable", size=size, detail=_reason(error))


def lfs_pointer(first: bytes, size: int) -> WeightsFile | None:
    """The file as a Git LFS pointer if its ``first`` bytes and ``size`` are those of one."""
    if size > _LFS_LIMIT or not first.startswith(_LFS):
        return None
    stated = re.search(rb"^size ([0-9]{1,18})$", first, re.MULTILINE)
    detail = "a Git LFS pointer: the file itself was never downloaded"
    return WeightsFile(
        "", "", "lfs-pointer", size=size, expected_size=int(stated[1]) if stated else None, detail=detail
    )


def contents(first: bytes) -> str | None:
    """What a file with these first bytes holds instead of weights, as far as they tell."""
    text = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, name in _CONTENTS:
        if first.startswith(magic) or text.startswith(magic):
            return name
    start = first[:60]
    if len(start) >= 8 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return f"text: {clean(start.decode('ascii').split(chr(10))[0].strip())!r}"
    return None


def assert_file(
    memory: WorkingMemory, weights: WeightsFile, *, read_by_loader: bool, lower_name: str | None = None
) -> None:
    """Assert the fact ``weights_file``."""
    memory.add(
        "weights_file",
        Provenance("checkpoint", file=clean(weights.file)),
        file=clean(weights.file),
        format=weights.format,
        state=weights.state,
        read_by_loader=read_by_loader,
        size=weights.size,
        expected_size=weights.expected_size,
        tensors=len(weights.tensors),
        detail=clean(weights.detail, 500) if weights.detail else None,
        tolerated=weights.tolerated,
        lower_name=clean(lower_name) if lower_name else None,
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _target(path: Path) -> str:
    try:
        return clean(os.readlink(path), 200)
    except OSError:
        return "somewhere"
