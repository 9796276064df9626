"""A copy of a model directory that takes next to no disk space: large files are links.

A hard link needs no space and survives when the original is removed; where there can be none (another
file system, somebody else's file), a symbolic link leads to the file itself: files of a hub
snapshot are links into its blobs, and those are what is linked to. Small files are copied, since
an editor that writes in place would write through a link into the original.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

How: TypeAlias = Literal["copy", "hard-link", "symlink", "written"]

#: Files of so many bytes and more are linked.
LINKED_FROM = 1 << 20
#: Folder of a mended copy that holds what is no part of the model.
EXTRAS = "diagnose"
#: What belongs to a checkout, a download or an earlier mend, and not to the model.
LEFT_OUT = frozenset({".git", ".cache", "__pycache__", ".DS_Store", EXTRAS})


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file of the copy, relative to it: ``how`` it came there, and ``why`` so."""

    file: str
    how: How
    why: str
    size: int


def copy_tree(original: Path, target: Path, without: Collection[str]) -> list[CopiedFile]:
    """Everything in ``original`` but the files ``without`` (relative) into the directory ``target``. Raises OSError."""
    made = []
    for file in files_of(original):
        relative = file.relative_to(original)
        if str(relative) in without:
            continue
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        made.append(_bring(file, place, str(relative)))
    return made


def bring_from(source: Path, target: Path, name: str) -> CopiedFile:
    """The file ``source``, which is none of the original's, as ``name`` in the copy ``target``. Raises OSError."""
    place = target / name
    place.parent.mkdir(parents=True, exist_ok=True)
    made = _bring(source, place, name)
    return replace(made, why=f"taken from {source}")


def files_of(directory: Path) -> Iterator[Path]:
    """The regular files under ``directory``, through links; what is dangling or special is left out."""
    seen: set[tuple[int, int]] = set()
    waiting = [directory]
    while waiting:
        folder = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name in LEFT_OUT:
                continue
            try:
                mode = entry.stat().st_mode
            except OSError:
                continue
            if stat.S_ISDIR(mode):
                waiting.append(folder / entry.name)
            elif stat.S_ISREG(mode):
                yield folder / entry.name


def _bring(file: Path, place: Path, name: str) -> CopiedFile:
    size = file.stat().st_size
    if size < LINKED_FROM:
        shutil.copyfile(file, place)
        shutil.copymode(file, place)
        return CopiedFile(name, "copy", "small: a change of one is no change of the other", size)
    real = file.resolve()
    try:
        os.link(real, place)
    except OSError:
        os.symlink(real, place)
        return CopiedFile(name, "symlink", f"unchanged; no hard link can lead to {real}", size)
    blob = (
        "unchanged; shares the blob that the snapshot links to"
        if file.is_symlink()
        else "unchanged; shares its disk space"
    )
    return CopiedFile(name, "hard-link", blob, size)
