"""Writes the mended copy of a model directory, as a whole or not at all.

Everything is made in a hidden directory beside the target, under the target's own name (a
directory's name steers mlx-audio's resolution), made durable, shown to ``accept``, and renamed. Until
then the target does not exist; if anything goes wrong, what was made is removed. The
original is only read.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlx_diagnose.adapters import mended_weights
from mlx_diagnose.adapters.config_text import patch_text
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.mended_weights import MendedWeights
from mlx_diagnose.adapters.model_copy import EXTRAS, LINKED_FROM, CopiedFile, bring_from, copy_tree, files_of
from mlx_diagnose.adapters.safetensors_file import UnwritableError
from mlx_diagnose.adapters.staging import staging
from mlx_diagnose.adapters.weights_rewriter import rewrite
from mlx_diagnose.engine.model import UsageError

#: Told which file is being written, and the bytes done and in all.
Progress: TypeAlias = Callable[[str, int, int], None]
#: Given the finished copy and what is in it; what it returns is written besides, by relative path. It may refuse
#: by raising.
Accept: TypeAlias = Callable[[Path, Sequence[CopiedFile]], Mapping[str, str]]

_CONFIG = "config.json"
_SPARE = 16 << 20


@dataclass(frozen=True, slots=True)
class WrittenDirectory:
    """A mended copy: where it is, and how each of its files came there."""

    path: Path
    files: tuple[CopiedFile, ...]


def check_target(target: Path, original: Path | None = None) -> None:
    """Raise UsageError where ``target`` cannot be the place of a new directory."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(
            "target-exists",
            f"{target} exists already.",
            why="What is there is never overwritten.",
            next_step="Give --out a directory that does not exist, or remove this one.",
        )
    if original is not None and original.resolve() in (
        target.absolute().resolve(),
        *target.absolute().resolve().parents,
    ):
        raise UsageError(
            "target-in-model",
            f"{target} lies in the model's own directory.",
            why="The original is never touched.",
            next_step="Give --out a directory beside it.",
        )


def write_directory(
    original: Path, target: Path, mend: Mend, accept: Accept, progress: Progress = lambda *_: None
) -> WrittenDirectory:
    """Make ``target`` the copy of ``original`` with ``mend``.

    Raises UnwritableError where it cannot be written, UsageError where ``target`` exists, and what
    ``accept`` raises. In all these cases nothing is left behind.
    """
    check_target(target, original)
    weights = mended_weights.plan(original, mend.weight_map)
    with _told(target), _made_parents(target.parent):
        _check_space(original, target.parent, weights)
        with staging(target) as staged:
            files = _fill(original, staged, mend, weights, progress)
            for name, text in accept(staged, files).items():
                _put(staged / EXTRAS / name, text)
                files.append(CopiedFile(f"{EXTRAS}/{name}", "written", "made by diagnose", len(text.encode())))
            _make_durable(staged)
            os.rename(staged, target)
            _sync(target.parent)
    return WrittenDirectory(target, tuple(files))


def write_texts(target: Path, texts: Mapping[str, str]) -> WrittenDirectory:
    """Make ``target`` a directory of text files, as :func:`write_directory` does."""
    check_target(target)
    files = [CopiedFile(name, "written", "made by diagnose", len(text.encode())) for name, text in texts.items()]
    with _told(target), _made_parents(target.parent), staging(target) as staged:
        for name, text in texts.items():
            _put(staged / name, text)
        _make_durable(staged)
        os.rename(staged, target)
        _sync(target.parent)
    return WrittenDirectory(target, tuple(files))


def _fill(original: Path, staged: Path, mend: Mend, weights: MendedWeights, progress: Progress) -> list[CopiedFile]:
    """Everything but the extras."""
    changed = {_CONFIG} if mend.config_patch else set()
    renamed = {Path(source).name for source in mend.copies.values() if Path(source).parent == original}
    files = copy_tree(original, staged, {*changed, *weights.files, *weights.indices, *mend.copies, *renamed})
    files += [bring_from(Path(source), staged, name) for name, source in mend.copies.items()]
    if mend.config_patch:
        text = patch_text((original / _CONFIG).read_text(encoding="utf-8"), mend.config_patch)
        _put(staged / _CONFIG, text)
        files.append(CopiedFile(_CONFIG, "written", "patched", len(text.encode())))
    for name, text in weights.indices.items():
        _put(staged / name, text)
        files.append(CopiedFile(name, "written", "tells which file has which tensor now", len(text.encode())))
    done, total = 0, weights.bytes
    for name, recipes in weights.files.items():
        if not recipes:
            continue  # all that it held went into other files

        def advance(count: int, name: str = name) -> None:
            nonlocal done
            done += count
            progress(name, done, total)

        metadata = weights.sources[original / name].metadata
        made = rewrite(staged / name, recipes, metadata, weights.sources, advance)
        why = f"{made.changed} tensors changed; {made.unchanged} others read back and equal"
        files.append(CopiedFile(name, "written", why, made.size))
    return files


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _check_space(original: Path, folder: Path, weights: MendedWeights) -> None:
    copied = sum(size for file in files_of(original) if (size := file.stat().st_size) < LINKED_FROM)
    sparse = sum(min(path.stat().st_blocks * 512, path.stat().st_size) for path in weights.sources)
    needed = copied + min(weights.bytes, 2 * sparse) + _SPARE
    disk = shutil.disk_usage(folder)
    free = disk.free
    if disk.total and free < needed:  # a file system of no size (/proc) has no room to tell of
        raise UnwritableError(
            "disk-full",
            f"There is too little room in {folder} for the mended copy.",
            why=f"It takes {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free.",
            next_step="Make room, or give --out a directory on another disk.",
        )


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Errors of the operating system as errors for a person."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise UnwritableError(
            "disk-full" if full else "cannot-write",
            f"{target} cannot be written.",
            why=f"Reason: {error.strerror or error}. Nothing was left behind, and the original is as it was.",
            next_step="Make room, or give --out a directory on another disk."
            if full
            else "Give --out a directory that you may write to.",
        ) from None


@contextmanager
def _made_parents(folder: Path) -> Iterator[None]:
    """Folders above the target that are missing are made, and removed again if nothing comes into them."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    try:
        for path in reversed(missing):
            path.mkdir()
        yield
    finally:
        for path in missing:
            with suppress(OSError):  # it is in use now
                path.rmdir()


def _make_durable(directory: Path) -> None:
    for folder, _, _ in os.walk(directory):
        _sync(Path(folder))


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some file systems have no such thing for directories
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
