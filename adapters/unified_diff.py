"""Unified diffs as ``git apply`` and ``patch -p1`` take them."""

from __future__ import annotations

import difflib
from pathlib import PurePosixPath

_NO_END = "\\ No newline at end of file\n"


def unified_diff(old: str, new: str, path: str) -> str:
    """The difference of a file at ``path`` (relative), empty where there is none.

    Lines end at line feeds only: a form feed or a line separator in a text is no line's end. Raises
    ValueError for a path that a diff cannot name, or that leads out of the directory.
    """
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or any(ord(char) < 32 for char in path):
        raise ValueError(f"{path!r} is no path for a diff")
    before, after = _lines(old), _lines(new)
    made = []
    for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", n=3):
        made.append(line if line.endswith("\n") else f"{line}\n{_NO_END}")
    return "".join(made)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
