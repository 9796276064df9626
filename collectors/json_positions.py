"""Where each value of a JSON text stands, for reports that show the user's own line.

Python's parser gives no positions. This scanner runs over text that the parser has already
accepted, so it only has to walk, never to judge, and it is iterative: nesting costs no stack.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)

#: Deeper values and later ones get no position: nobody reads a report about them.
MAX_DEPTH = 64
MAX_POSITIONS = 50_000


@dataclass(frozen=True, slots=True)
class Place:
    """Offsets in the text: of the key (of the value itself for list items) and of the value."""

    key: int
    value: int


class JsonPositions:
    """Positions of the values of ``text``, which must be JSON as :func:`json.loads` takes it."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", self.text))]

    @cached_property
    def _scan(self) -> tuple[Mapping[str, Place], Mapping[str, Place]]:
        return _scan(self.text)

    @property
    def places(self) -> Mapping[str, Place]:
        """Dotted path (``decoder.rates.0``) to place; of a key given twice, the last, which counts."""
        return self._scan[0]

    @property
    def duplicates(self) -> tuple[str, ...]:
        """Dotted paths of keys that stand more than once in their object, in order."""
        return tuple(self._scan[1])

    def overridden(self, path: str) -> Any:
        """The value that the duplicate ``path`` has where it stands first. Raises KeyError for other paths."""
        value, _ = json.JSONDecoder().raw_decode(self.text, self._scan[1][path].value)
        return value

    def line_column(self, offset: int) -> tuple[int, int]:
        """1-based line and column of ``offset``."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def of(self, path: str) -> tuple[int, int] | None:
        """1-based line and column of the key at dotted ``path``, or None."""
        place = self.places.get(path)
        return self.line_column(place.key) if place else None


def _scan(text: str) -> tuple[dict[str, Place], dict[str, Place]]:
    places: dict[str, Place] = {}
    duplicates: dict[str, Place] = {}
    # One entry an open container: its dotted path, and the next index (list) or the keys met (object).
    stack: list[tuple[str, list[int] | set[str]]] = []
    key: tuple[str, int] | None = None
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "]}":
            stack.pop()
            continue
        if token in ",:":
            continue
        parent, members = stack[-1] if stack else ("", None)
        if isinstance(members, set) and key is None:
            key = (json.loads(token, strict=False), match.start())
            continue
        path = parent
        if members is not None and len(stack) <= MAX_DEPTH:
            if isinstance(members, list):
                name, offset = str(members[0]), match.start()
                members[0] += 1
            else:
                assert key is not None
                name, offset = key
            path = f"{parent}.{name}" if parent else name
            if isinstance(members, set):
                if name in members:
                    duplicates.setdefault(path, places[path])
                members.add(name)
            places[path] = Place(offset, match.start())
            if len(places) >= MAX_POSITIONS:
                break
        key = None
        if token == "{":
            stack.append((path, set()))
        elif token == "[":
            stack.append((path, [0]))
    return places, duplicates
