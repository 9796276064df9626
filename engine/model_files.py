"""Files of a model as a script can hold them: small ones whole, weights as names, types and shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlx_diagnose.collectors import safetensors_header
from mlx_diagnose.collectors.tensors import SAFETENSORS_DTYPES
from mlx_diagnose.engine.specimen import Tensor, byte_size, collapse, expand

#: A file up to so many bytes is held as it is.
MAX_CONTENT = 128 << 10
#: Of a larger one so much of its beginning.
HEAD = 4 << 10
_TYPES = {mlx: name for name, mlx in SAFETENSORS_DTYPES.items()}
#: Never taken along: code, and what is unpickled.
_REFUSED = (".py", ".pyc", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".npy", ".npz", ".joblib")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file to be written anew.

    ``tensors`` are those of a safetensors file whose values are zeros, in collapsed names where
    ``collapsed``, and ``size`` how many bytes the file is longer than they need; else ``content`` is its
    beginning and ``size`` its length.
    """

    name: str
    size: int
    how: Literal["content", "tensors", "refused"]
    content: bytes = b""
    tensors: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    collapsed: bool = False

    @property
    def whole(self) -> bool:
        """It is what the original is, values of weights apart."""
        return self.how == "tensors" or (self.how == "content" and len(self.content) == self.size)


def read(directory: Path, names: list[str]) -> list[ModelFile]:
    """The files ``names`` of ``directory``, and those in folders so called, in order of name."""
    return [_read(directory / name, name) for name in sorted(_files(directory, names))]


def _files(directory: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        path = directory / name
        if not path.is_dir():
            yield name
            continue
        for folder, _, files in os.walk(path):
            for file in files:
                yield (Path(folder) / file).relative_to(directory).as_posix()


def _read(path: Path, name: str) -> ModelFile:
    if name.endswith(_REFUSED) or not path.is_file():
        return ModelFile(name, 0, "refused")
    size = path.stat().st_size
    if name.endswith(".safetensors"):
        header = safetensors_header.read(path, name)
        tensors = {key: (_TYPES[info.dtype], info.shape) for key, info in header.tensors.items()}
        if tensors and all(_sized(tensor) for tensor in tensors.values()):
            short = collapse(tensors)
            # A name that itself looks like a range would not come back.
            collapsed = len(short) < len(tensors) and expand(short) == tensors
            needed = sum(map(byte_size, tensors.values()))
            with path.open("rb") as file:
                longer = size - 8 - int.from_bytes(file.read(8), "little") - needed
            return ModelFile(name, longer, "tensors", tensors=short if collapsed else tensors, collapsed=collapsed)
    with path.open("rb") as file:
        return ModelFile(name, size, "content", file.read(MAX_CONTENT if size <= MAX_CONTENT else HEAD))


def _sized(tensor: Tensor) -> bool:
    try:
        return byte_size(tensor) >= 0
    except ValueError:
        return False
