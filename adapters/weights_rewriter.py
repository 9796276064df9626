"""Writes a mended weights file as a stream: tensor by tensor, in constant memory, and read back.

What is not changed is copied in runs, many tensors at a time; holes of sparse files stay holes.
Every piece that was written is read again and compared with what was meant, so that "untouched" is
not a promise: the bytes in the new file equal those of the old one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlx_diagnose.adapters.safetensors_file import Entry, Header, new_header
from mlx_diagnose.adapters.tensor_recipe import Recipe, Stored
from mlx_diagnose.adapters.tensor_stream import Locate, contiguous, item_size, stream
from mlx_diagnose.adapters.tensor_views import Form, View, form

#: Told how many bytes were dealt with since the last time.
Advance: TypeAlias = Callable[[int], None]

#: Bytes that are copied at a time: few enough to stay in the processor's cache until they are compared.
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file that was written: its bytes, and how many of its tensors are as they were."""

    size: int
    unchanged: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes that are taken over as they stand: where from, how many, where to."""

    descriptor: int
    start: int
    length: int
    at: int


def rewrite(
    target: Path,
    recipes: Mapping[str, Recipe],
    metadata: Mapping[str, str] | None,
    sources: Mapping[Path, Header],
    advance: Advance = lambda _: None,
) -> Rewritten:
    """Write a new file ``target`` with ``recipes`` in their order, made of tensors of ``sources``.

    Raises OSError where it cannot be written or does not read back as it was written; what was
    written of it is the caller's to remove.
    """
    beginning, entries = new_header({name: (recipe.dtype, recipe.shape) for name, recipe in recipes.items()}, metadata)
    size = max((entry.end for entry in entries.values()), default=len(beginning))
    with ExitStack() as stack:
        locate = _locate(sources, stack)
        out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        stack.callback(os.close, out)
        os.ftruncate(out, size)
        _write(out, beginning, 0)
        for step in _steps(recipes, entries, locate):
            if isinstance(step, _Run):
                _copy(out, step, advance)
                continue
            of, entry = step
            at = entry.start
            for piece in stream(of, locate):
                _write(out, piece, at)
                at += len(piece)
                advance(len(piece))
            if at != entry.end:
                raise OSError(
                    errno.EIO, f"a tensor came out {at - entry.start} bytes long, not {entry.end - entry.start}"
                )
        os.fsync(out)
    unchanged = sum(isinstance(recipe, Stored) and recipe.name == name for name, recipe in recipes.items())
    return Rewritten(size, unchanged, len(recipes) - unchanged)


def _steps(
    recipes: Mapping[str, Recipe], entries: Mapping[str, Entry], locate: Locate
) -> Iterator[_Run | tuple[Form, Entry]]:
    """What is to be done, in the order of the new file: runs that are copied, and tensors that are made."""
    run: _Run | None = None
    for name, recipe in recipes.items():
        of, entry = form(recipe), entries[name]
        following = None
        if isinstance(of, View) and contiguous(of):
            descriptor, start = locate(of.name)
            start += of.offset * item_size(of.dtype)
            following = _Run(descriptor, start, entry.end - entry.start, entry.start)
            if run is not None and _adjoin(run, following):
                run = _Run(run.descriptor, run.start, run.length + following.length, run.at)
                continue
        if run is not None:
            yield run
        run = following
        if following is None:
            yield of, entry
    if run is not None:
        yield run


def _locate(sources: Mapping[Path, Header], stack: ExitStack) -> Locate:
    places = {name: (path, entry.start) for path, header in sources.items() for name, entry in header.tensors.items()}
    opened: dict[Path, int] = {}

    def locate(name: str) -> tuple[int, int]:
        path, start = places[name]
        if path not in opened:
            opened[path] = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            stack.callback(os.close, opened[path])
        return opened[path], start

    return locate


def _adjoin(run: _Run, following: _Run) -> bool:
    return (
        run.descriptor == following.descriptor
        and run.start + run.length == following.start
        and run.at + run.length == following.at
    )


def _copy(out: int, run: _Run, advance: Advance) -> None:
    buffer, again = bytearray(_PIECE), bytearray(_PIECE)
    for start, length, hole in _segments(run):
        if hole:
            advance(length)
            continue
        for position in range(start, start + length, _PIECE):
            wanted = min(_PIECE, start + length - position)
            if wanted != len(buffer):
                buffer, again = bytearray(wanted), bytearray(wanted)
            if os.preadv(run.descriptor, [buffer], position) != wanted:
                raise OSError(errno.EIO, "the file became shorter while it was read")
            _put(out, buffer, position - run.start + run.at)
            if os.preadv(out, [again], position - run.start + run.at) != wanted or again != buffer:
                raise _differs()
            advance(wanted)


def _segments(run: _Run) -> Iterator[tuple[int, int, bool]]:
    """Start, length, and whether it is a hole, in order."""
    position, end = run.start, run.start + run.length
    while position < end:
        data = min(_seek(run.descriptor, position, "SEEK_DATA", position, end), end)
        if data > position:
            yield position, data - position, True
        position = data
        if position < end:
            hole = min(_seek(run.descriptor, position, "SEEK_HOLE", end, end), end)
            yield position, hole - position, False
            position = hole


def _seek(descriptor: int, position: int, whence: str, otherwise: int, end: int) -> int:
    how = getattr(os, whence, None)
    if how is None:
        return otherwise
    try:
        return os.lseek(descriptor, position, how)
    except OSError as error:
        return end if error.errno == errno.ENXIO else otherwise  # ENXIO: a hole up to the end of the file


def _write(out: int, piece: bytes, at: int) -> None:
    _put(out, piece, at)
    if os.pread(out, len(piece), at) != piece:
        raise _differs()


def _put(out: int, piece: bytes | bytearray, at: int) -> None:
    written = os.pwrite(out, piece, at)
    while written < len(piece):
        written += os.pwrite(out, memoryview(piece)[written:], at + written)


def _differs() -> OSError:
    return OSError(errno.EIO, "what was written does not read back as it was")
