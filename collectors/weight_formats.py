"""Which files of a directory are weights, and in what format, by name and first bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

_BY_SUFFIX: Mapping[str, str] = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".bin": "pytorch",
    ".pt": "pytorch",
    ".pth": "pytorch",
    ".ckpt": "pytorch",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".msgpack": "flax",
    ".h5": "tensorflow",
    ".nemo": "nemo",
}

#: What training leaves beside the weights, under the same suffixes.
_NOT_WEIGHTS = ("optimizer", "scheduler", "scaler", "training_args", "trainer_state", "rng_state", "random_states")

#: First bytes of PyTorch files: a zip archive or, before 1.6 and by hand, a pickle or a tar archive's directory.
_PYTORCH = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LFS = b"version https://git-lfs"


def format_of(path: Path) -> str | None:
    """The format of the weights that ``path`` holds by its name, None where it holds none.

    ``.bin`` says little, so a file of that name counts if it begins as PyTorch's do, or
    cannot be looked into; ggml and other binaries are ``other``. Never raises.
    """
    suffix = path.suffix.lower()
    format = _BY_SUFFIX.get(suffix)
    if format == "pytorch":
        if path.name.lower().startswith(_NOT_WEIGHTS):
            return None
        if suffix == ".bin":
            return _bin_format(path)
    return format


def _bin_format(path: Path) -> str | None:
    first = _first_bytes(path)
    if first is None or not first or first.startswith((*_PYTORCH, _LFS)):
        return "pytorch"
    if first.startswith(b"GGUF"):
        return "gguf"
    return "other" if first[:4] in (b"lmgg", b"tjgg", b"fmgg") else None


def _first_bytes(path: Path) -> bytes | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with open(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as stream:
            return stream.read(64)
    except (OSError, ValueError):
        return None
