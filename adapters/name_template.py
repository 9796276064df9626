"""Names of tensors with places: ``{head}.layers.{i}.gamma`` stands for that weight of every layer.

A place is ``{name}``. ``head`` and ``rest`` are any text, dots and all, but not nothing; every
other name is a number as layers have it, and ``{i:0..3,7}`` one of those numbers only. Doubled
braces are braces. All else stands for itself: names come from strangers' files, so nothing in
them is a pattern, and quotes, line ends or code in them are text like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

#: Places that stand for text.
TEXTS = ("head", "rest")
#: Longest template, and the most places in one.
MAX_LENGTH = 4096
MAX_PLACES = 8

_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)(?::([0-9.,]+))?\}|[{}]")
_RUN = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.\.(0|[1-9][0-9]{0,8}))?")
_NUMBER = r"(?:0|[1-9][0-9]{0,8})"


class TemplateError(ValueError):
    """A text that is no template; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """``{name}``, and for a number the runs (first, last) it may lie in; none: any."""

    name: str
    runs: tuple[tuple[int, int], ...] = ()

    def admits(self, text: str) -> bool:
        """``text`` may stand here; its form was checked."""
        return not self.runs or any(first <= int(text) <= last for first, last in self.runs)


@dataclass(frozen=True)
class NameTemplate:
    """A parsed template: literal texts, and places between them."""

    source: str
    parts: tuple[str | Place, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places, in order."""
        return tuple(part.name for part in self.parts if isinstance(part, Place))

    def match(self, name: str) -> dict[str, str] | None:
        """What stands in each place if ``name`` is one that the template means, else None."""
        if not self.places:
            return {} if name == "".join(map(str, self.parts)) else None
        found = self._pattern.fullmatch(name)
        if found is None:
            return None
        values = found.groupdict()
        places = (part for part in self.parts if isinstance(part, Place))
        return values if all(place.admits(values[place.name]) for place in places) else None

    def fill(self, values: Mapping[str, str]) -> str:
        """The name with ``values`` in its places. Raises KeyError for a place that has none."""
        return "".join(part if isinstance(part, str) else values[part.name] for part in self.parts)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pieces = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(re.escape(part))
            else:
                pieces.append(f"(?P<{part.name}>{'.+?' if part.name in TEXTS else _NUMBER})")
        # What stands between numbers bounds them; two texts at most, so a search stays quadratic at worst.
        return re.compile("".join(pieces), re.DOTALL)


def parse(source: str) -> NameTemplate:
    """The template in ``source``. Raises TemplateError."""
    if not source:
        raise TemplateError("a name is not empty")
    if len(source) > MAX_LENGTH:
        raise TemplateError(f"a name has at most {MAX_LENGTH} characters")
    parts: list[str | Place] = []
    text, end = "", 0
    for token in _TOKEN.finditer(source):
        text += source[end : token.start()]
        end = token.end()
        if token.group() in ("{{", "}}"):
            text += token.group()[0]
        elif token[1] is None:
            raise TemplateError(f"a single {token.group()} stands in {source!r}; write it twice for a brace")
        else:
            if text:
                parts.append(text)
            elif parts:
                raise TemplateError(f"two places stand side by side in {source!r}")
            text = ""
            parts.append(_place(token[1], token[2]))
    text += source[end:]
    if text:
        parts.append(text)
    names = [part.name for part in parts if isinstance(part, Place)]
    if len(set(names)) != len(names):
        raise TemplateError(f"a place stands twice in {source!r}")
    if len(names) > MAX_PLACES:
        raise TemplateError(f"more than {MAX_PLACES} places stand in {source!r}")
    return NameTemplate(source, tuple(parts))


def _place(name: str, runs: str | None) -> Place:
    if runs is None:
        return Place(name)
    if name in TEXTS:
        raise TemplateError(f"{{{name}}} is text and takes no numbers")
    found = []
    for run in runs.split(","):
        match = _RUN.fullmatch(run)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise TemplateError(f"{run!r} is neither a number nor a run such as 0..31")
        found.append((int(match[1]), int(match[2] or match[1])))
    return Place(name, tuple(found))


def escaped(name: str) -> str:
    """The template that means ``name`` alone."""
    return name.replace("{", "{{").replace("}", "}}")
