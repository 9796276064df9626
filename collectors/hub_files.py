"""Whether the files of a cached snapshot are whole: there, of the right size, with the content that their names tell.

A blob is named by the hash of its content, so small files are checked exactly. Weights are
not hashed as long as their size and header agree: that reads gigabytes. A safetensors file
that was cut off shows in its header; whether it was published so is told by its hash, which is
worth computing up to :data:`LARGE` bytes once something is wrong.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.collectors import safetensors_header
from mlx_diagnose.collectors.hub_folder import Listed, OnDisk, RepositoryFolder

#: Files that are hashed as a matter of course, and all of them together; a file about which there is a doubt. Bytes.
SMALL = 1 << 20
SMALL_TOGETHER = 4 << 20
LARGE = 256 << 20

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Checked:
    """A file of a snapshot that is not whole, or about which there was a doubt.

    ``state`` is dangling, unreadable, wrong-size, wrong-content, unsound (its header does not
    agree with its size) or as-published (unsound, but exactly what the repository has).
    """

    file: str
    state: str
    size: int | None = None
    expected_size: int | None = None
    detail: str | None = None


def check(folder: RepositoryFolder, *, thorough: bool, suspects: Iterable[str] = ()) -> Iterator[Checked]:
    """The files of the snapshot that are not whole.

    ``suspects`` are files that another look found unsound; ``thorough`` looks at the headers of all
    safetensors files for more of them.
    """
    doubted = set(suspects)
    left = SMALL_TOGETHER
    for name, file in sorted(folder.files.items()):
        known = (folder.listing or {}).get(name)
        try:
            size = os.stat(file.path).st_size
        except OSError as error:
            yield _absent(name, file, error)
            continue
        if not os.access(file.path, os.R_OK):
            yield Checked(name, "unreadable", size, detail="this user may not read it")
            continue
        if known is not None and size != known.size:
            yield Checked(name, "wrong-size", size, known.size)
            continue
        problem = None
        if name in doubted or (thorough and name.endswith(".safetensors")):
            problem = _unsound(file.path)
        hashed = size <= (LARGE if problem is not None else min(SMALL, left)) and _expected_hash(file, known)
        if hashed:
            left -= size if problem is None else 0
            if not _has_hash(file.path, size, hashed):
                yield Checked(name, "wrong-content", size, detail=problem)
                continue
        if problem is not None:
            # Of the size that the repository has, a file was hardly cut off here.
            as_published = bool(hashed) or known is not None
            yield Checked(name, "as-published" if as_published else "unsound", size, detail=problem)


def _absent(name: str, file: OnDisk, error: OSError) -> Checked:
    if isinstance(error, PermissionError):
        return Checked(name, "unreadable", detail="this user may not read it")
    return Checked(name, "dangling", detail="it leads to nothing")


def _unsound(path: Path) -> str | None:
    weights = safetensors_header.read(path)
    return None if weights.sound or weights.state == "unsupported-dtype" else weights.detail or weights.state


def _expected_hash(file: OnDisk, known: Listed | None) -> str | None:
    """The hash that the content must have: as the list of files says, else as the blob is named."""
    if known is not None:
        stated = known.sha256 or known.git
        if stated is not None and (_SHA256.fullmatch(stated) or _GIT.fullmatch(stated)):
            return stated
    name = file.blob.name if file.blob is not None and file.blob.parent.name == "blobs" else ""
    return name if _SHA256.fullmatch(name) or _GIT.fullmatch(name) else None


def _has_hash(path: Path, size: int, expected: str) -> bool:
    """Whether the content of ``path`` has the SHA-256, or the hash that git gives a blob. True if it cannot be read."""
    digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return True
    return digest.hexdigest() == expected
