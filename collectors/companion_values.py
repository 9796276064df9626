"""The values that companions are followed with: texts, config keys, places of files, objects.

A value is a tuple of what an expression may stand for; the empty one is unknown. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from mlx_diagnose.collectors.source_world import Class, Function, Module

#: Alternatives that are followed of one expression.
_MOST = 6


@dataclass(frozen=True, slots=True)
class Text:
    """A text in the source."""

    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number, a truth value or None in the source."""

    value: float | bool | None


@dataclass(frozen=True, slots=True)
class Key:
    """The value of the config key ``path`` (dotted); ``default`` is JSON text, None where there is none."""

    path: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """The part of the config at ``path`` as a dict."""

    path: str


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder: ``inside`` the model directory (``repo`` None), or a repository that was fetched."""

    repo: Text | Key | None
    inside: str = ""

    def joined(self, name: str) -> Place:
        return Place(self.repo, f"{self.inside}/{name}" if self.inside else name)


@dataclass(eq=False, slots=True)
class Thing:
    """An object of class ``cls``; ``section`` is the config section that it was made from, if it is a config."""

    cls: Class
    section: str | None = None
    fields: dict[str, Value] = field(default_factory=dict)


Alternative: TypeAlias = "Text | Number | Key | Section | Place | Thing | Class | Function | Module"
Value: TypeAlias = "tuple[Alternative, ...]"

UNKNOWN: Value = ()


def join(*values: Value) -> Value:
    """Everything that one of ``values`` may be."""
    found: list[Alternative] = []
    for value in values:
        found.extend(item for item in value if item not in found)
    return tuple(found[:_MOST])


def of_kind(value: Value, *kinds: type) -> list[Alternative]:
    """The alternatives of ``value`` that are of ``kinds``."""
    return [item for item in value if isinstance(item, kinds)]


def fingerprint(values: Iterable[Value]) -> tuple[object, ...]:
    """What a call depends on, for not following the same call twice."""
    return tuple(
        tuple(item if isinstance(item, (Text, Number, Key, Section, Place)) else id(item) for item in value)
        for value in values
    )
