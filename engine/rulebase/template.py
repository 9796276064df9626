"""Texts with places to fill: ``{name}``, ``{alias.field}``; ``{{`` and ``}}`` are braces.

Nothing is evaluated: a place names a variable or a field and is replaced by its value. A part
in double square brackets, ``[[ in {e.file}:{e.line}]]``, is left out when one of its places
has no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mlx_diagnose.engine.model import Scalar

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SEGMENT = re.compile(r"\[\[((?:(?!\[\[|\]\]).)*\{(?:(?!\[\[|\]\]).)*)\]\]", re.DOTALL)
_PLACE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))?")

#: What a null reads as inside a text.
NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Place:
    """``{name}`` is a variable; ``{alias.field}`` a field of the fact that matched ``alias``."""

    name: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{{{self.name}.{self.field}}}" if self.field else f"{{{self.name}}}"


@dataclass(frozen=True, slots=True)
class Segment:
    """Parts that stand together: left out if a place among them has no value."""

    parts: tuple[str | Place, ...]


Resolver = Callable[[Place], Scalar]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text. ``source`` is what stood in the file."""

    source: str
    parts: tuple[str | Place | Segment, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """The places in order of appearance, those of segments included."""
        flat = (inner for part in self.parts for inner in (part.parts if isinstance(part, Segment) else (part,)))
        return tuple(part for part in flat if isinstance(part, Place))

    def value(self, resolve: Resolver) -> Scalar:
        """The filled text; a template that is one place alone keeps its value's type, null included."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Place):
            return resolve(self.parts[0])
        return self.text(resolve)

    def text(self, resolve: Resolver) -> str:
        """The filled text."""
        return "".join(spoken(value) for value in self._values(resolve))

    def text_or_none(self, resolve: Resolver) -> str | None:
        """The filled text, or None when a place has no value (null)."""
        values = self._values(resolve)
        return None if any(value is None for value in values) else "".join(spoken(value) for value in values)

    def _values(self, resolve: Resolver) -> list[Scalar]:
        values: list[Scalar] = []
        for part in self.parts:
            if isinstance(part, Segment):
                inner = [item if isinstance(item, str) else resolve(item) for item in part.parts]
                values.extend(() if any(value is None for value in inner) else inner)
            else:
                values.append(part if isinstance(part, str) else resolve(part))
        return values


class TemplateError(ValueError):
    """A text that is not a template; the message says why."""


def parse_template(source: str) -> Template:
    """Parse ``source``; raises :class:`TemplateError`."""
    parts: list[str | Place | Segment] = []
    end = 0
    for segment in _SEGMENT.finditer(source):
        parts.extend(_plain_parts(source[end : segment.start()]))
        parts.append(Segment(_plain_parts(segment.group(1))))
        end = segment.end()
    parts.extend(_plain_parts(source[end:]))
    return Template(source, tuple(parts))


def _plain_parts(source: str) -> tuple[str | Place, ...]:
    parts: list[str | Place] = []
    end = 0
    for token in _TOKEN.finditer(source):
        parts.append(source[end : token.start()])
        end = token.end()
        text = token.group()
        if text in ("{{", "}}"):
            parts.append(text[0])
        elif token.group(1) is None:
            raise TemplateError(f"a single {text!r} stands in this text; write {text * 2!r} for a brace")
        else:
            place = _PLACE.fullmatch(token.group(1))
            if place is None:
                raise TemplateError(f"{text!r} is neither {{variable}} nor {{alias.field}}; write '{{{{' for a brace")
            parts.append(Place(place.group(1), place.group(2)))
    parts.append(source[end:])
    return _joined(parts)


def _joined(parts: list[str | Place]) -> tuple[str | Place, ...]:
    joined: list[str | Place] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)


def spoken(value: Scalar) -> str:
    """A value as a person or JSON would write it: ``true``, ``512``, ``0.5``; null as ``(nothing)``."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
