"""How a report is shown: width, colour, glyphs; and fitting text into it.

Hand-made rather than taken from a terminal library: importing one costs more than the
whole rendering, and a report is only lines of text.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

ColorChoice = Literal["auto", "always", "never"]

_CODES: Mapping[str, str] = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_WIDTH = 80
_WIDEST = 100
_NARROWEST = 40


@dataclass(frozen=True, slots=True)
class View:
    """What the reader's terminal can do and how much they want to see. ``width`` is in cells."""

    width: int = _WIDTH
    color: bool = False
    unicode: bool = True
    verbose: bool = False

    def paint(self, text: str, *styles: str) -> str:
        """``text`` in ``styles`` (red, green, yellow, cyan, bold, dim), or plain without colour."""
        if not self.color or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def glyph(self, unicode: str, ascii: str) -> str:
        """The first where the terminal can show it, else the second."""
        return unicode if self.unicode else ascii

    def fold(self, text: str, indent: str = "", first: str | None = None) -> list[str]:
        """``text`` in lines of at most ``width`` cells, behind ``indent`` (the first behind ``first``).

        Lines break at spaces. A longer word (a path, a command) stays whole, so that it can be
        copied, unless it is of a script that needs no spaces.
        """
        lead = indent if first is None else first
        folded = []
        line = ""
        for word in _pieces(text, max(8, self.width - max(cells(indent), cells(lead)))):
            longer = f"{line} {word}" if line else word
            if line and cells(lead) + cells(longer) > self.width:
                folded.append(lead + line)
                lead, line = indent, word
            else:
                line = longer
        return [*folded, lead + line] if line else folded

    def cut(self, text: str, room: int) -> str:
        """``text`` in at most ``room`` cells, with an ellipsis where it was cut."""
        if cells(text) <= room:
            return text
        more = self.glyph("…", "...")
        return _head(text, max(0, room - cells(more))) + more


def view_for(stream: TextIO, color: ColorChoice, verbose: bool, environ: Mapping[str, str]) -> View:
    """The view of ``stream``: its width and encoding, and colour where it is wanted.

    ``NO_COLOR`` and ``FORCE_COLOR`` decide between ``always`` and ``never`` when ``color`` is
    auto; without them, a terminal that is not dumb is coloured.
    """
    terminal = is_terminal(stream)
    width = min(_WIDEST, max(_NARROWEST, shutil.get_terminal_size().columns)) if terminal else _WIDTH
    if color != "auto":
        colored = color == "always"
    elif environ.get("NO_COLOR"):
        colored = False
    elif environ.get("FORCE_COLOR", "0") not in ("", "0"):
        colored = True
    else:
        colored = terminal and environ.get("TERM") != "dumb"
    return View(width, colored, _can_encode(stream), verbose)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person may be watching ``stream``."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def home_relative(path: str) -> str:
    """``path`` with the home directory as ``~``, as a person would write it."""
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if home != "/" and path.startswith(home + os.sep) else path


def source_place(file: str, line: int | None) -> str:
    """A place in a source file; of an installed package only what tells it from others: ``mlx_audio/utils.py:12``."""
    for folder in ("/site-packages/", "/dist-packages/"):
        file = file.rpartition(folder)[2]
    return home_relative(file) + ("" if line is None else f":{line}")


def cells(text: str) -> int:
    """How many terminal cells ``text`` takes."""
    return len(text) if text.isascii() else sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _pieces(text: str, room: int) -> Iterator[str]:
    """The words of ``text``, those of wide characters in pieces of at most ``room`` cells."""
    for word in text.split():
        while not word.isascii() and cells(word) > room:
            head = _head(word, room) or word[0]
            yield head
            word = word[len(head) :]
        if word:
            yield word


def _head(text: str, room: int) -> str:
    taken = 0
    for at, character in enumerate(text):
        taken += _cells(character)
        if taken > room:
            return text[:at]
    return text


def _can_encode(stream: TextIO) -> bool:
    try:
        "✓✗…→·".encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
