"""Repositories of the loopback hub: commits of files, which may be sparse and of any size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

#: What the hub's default .gitattributes puts into LFS, and the size above which an upload goes there.
_LFS_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".npz", ".npy", ".onnx", ".pickle", ".model", ".gguf", ".wav"}
_LFS_SIZE = 10_000_000
#: Larger files are mostly holes: their checksum is that of their beginning.
_HASHED = 1 << 25


@dataclass(frozen=True)
class Content:
    """The bytes of a file: held here, or those of a file on disk, which is never read whole."""

    source: bytes | Path

    @cached_property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def read(self, start: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``start``."""
        if isinstance(self.source, bytes):
            return self.source[start : start + length]
        with self.source.open("rb") as file:
            file.seek(start)
            return file.read(length)

    @cached_property
    def sha256(self) -> str:
        """The LFS name; of a huge file, a stand-in made of its size and beginning."""
        if self.size <= _HASHED:
            return hashlib.sha256(self.read(0, self.size)).hexdigest()
        return hashlib.sha256(b"%d " % self.size + self.read(0, 1 << 20)).hexdigest()

    def blob_id(self, lfs: bool) -> str:
        """The git name: of the file, or of its LFS pointer."""
        data = self.pointer() if lfs else self.read(0, self.size)
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def pointer(self) -> bytes:
        """The LFS pointer file that stands for it in git."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()


Files = dict[str, Content]


@dataclass
class Repository:
    """One model repository. ``commits`` maps revisions (commit hashes) to files, ``refs`` branches to commits."""

    id: str
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: Literal[False, "auto", "manual"] = False
    disabled: bool = False
    tags: list[str] = field(default_factory=list)
    library_name: str | None = None
    card: dict[str, Any] = field(default_factory=dict)
    #: Whether large files have a Xet hash beside the LFS one.
    xet: bool = False

    @classmethod
    def from_directory(cls, id: str, directory: Path, **properties: Any) -> Repository:
        """A repository with one commit that holds the files of ``directory``."""
        files = {
            file.relative_to(directory).as_posix(): Content(file)
            for file in sorted(directory.rglob("*"))
            if file.is_file()
        }
        repository = cls(id, **properties)
        repository.commit(files)
        return repository

    @classmethod
    def of(cls, id: str, files: Mapping[str, bytes], **properties: Any) -> Repository:
        """A repository with one commit that holds ``files``."""
        repository = cls(id, **properties)
        repository.commit({name: Content(data) for name, data in files.items()})
        return repository

    def commit(self, files: Files, branch: str = "main") -> str:
        """Add a commit of ``files`` to ``branch``; its hash."""
        seed = f"{self.id} {len(self.commits)} {sorted((name, content.size) for name, content in files.items())}"
        commit = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[branch] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """The commit that ``revision`` names."""
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None

    @property
    def head(self) -> str:
        """The commit of main."""
        return self.refs["main"]

    @property
    def files(self) -> Files:
        """The files of main."""
        return self.commits[self.head]


def is_lfs(path: str, content: Content) -> bool:
    """Whether a file is kept in LFS."""
    return Path(path).suffix in _LFS_SUFFIXES or content.size > _LFS_SIZE


def xet_hash(content: Content) -> str:
    """A stand-in for the Xet name of a file: 64 hexadecimal digits that depend on it."""
    return hashlib.sha256(b"xet " + content.sha256.encode()).hexdigest()
