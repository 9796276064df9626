"""A few lines of the user's own text with line numbers and a caret."""

from __future__ import annotations

import re
import unicodedata

from mlx_diagnose.collectors.text import clean

_BREAK = re.compile(r"\r\n|\n|\r")
_WIDTH = 100
_TAB = "    "


def excerpt_lines(text: str, name: str, line: int, column: int | None = None, context: int = 1) -> str | None:
    """Lines ``line - context`` to ``line + context`` of ``text``, numbered, under ``name:line:column``.

    A caret stands under ``column`` (1-based), or under the first character of the line. Long
    lines are cut around the caret. None if there is no such line.
    """
    lines = _BREAK.split(text)
    if not 1 <= line <= len(lines):
        return None
    if column is None:
        stripped = lines[line - 1].lstrip()
        column = len(lines[line - 1]) - len(stripped) + 1 if stripped else 1
    first, last = max(1, line - context), min(len(lines), line + context)
    gutter = len(str(last))
    shown = [f"{name}:{line}:{column}"]
    for number in range(first, last + 1):
        body, caret = _fit(lines[number - 1], column if number == line else 1)
        shown.append(f"{number:>{gutter}} | {body}".rstrip())
        if number == line:
            shown.append(f"{'':>{gutter}} | {' ' * caret}^")
    return "\n".join(shown)


def _fit(line: str, column: int) -> tuple[str, int]:
    """``line`` as one that fits a terminal, and how many cells stand before ``column``."""
    start = max(0, column - 1 - _WIDTH // 2) if len(line) > _WIDTH else 0
    before, after = line[start : column - 1], line[column - 1 : start + _WIDTH]
    head = ("…" if start else "") + _plain(before)
    tail = _plain(after) + ("…" if len(line) > start + _WIDTH else "")
    return head + tail, sum(_cells(character) for character in head)


def _plain(text: str) -> str:
    return clean(text.replace("\t", _TAB))


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
