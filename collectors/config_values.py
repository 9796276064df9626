"""The values that the config is followed with: sections of it, objects built from them, and what is learnt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from mlx_diagnose.collectors.source_world import Class, Function, Module, Parameter


@dataclass(eq=False)
class Section:
    """A part of the config, or several that may serve: ``paths``, dotted, the first preferred.

    ``given`` holds keys that code sets itself, ``maybe`` those it sets on some way; ``filtered``
    says that keys which a class does not know were left out before.
    """

    paths: tuple[str, ...]
    filtered: bool = False
    given: dict[str, Value] = field(default_factory=dict)
    maybe: dict[str, Value] = field(default_factory=dict)

    def child(self, name: str) -> Value:
        if name in self.given:
            return self.given[name]
        under = Section(below(self.paths, name)) if self.paths else None
        return join(under, self.maybe.get(name))

    def copied(self, filtered: bool = False) -> Section:
        return Section(self.paths, self.filtered or filtered, dict(self.given), dict(self.maybe))


@dataclass(eq=False)
class Instance:
    """An object of class ``cls`` made from ``section``; ``fields`` are the attributes that are known otherwise."""

    cls: Class
    section: Section | None = None
    fields: dict[str, Value] = field(default_factory=dict)

    def attribute(self, name: str) -> Value:
        if name in self.fields:
            return self.fields[name]
        if self.section is None or self.cls.method(name) is not None:
            return None
        return self.section.child(name) if self.cls.accepts_any or self.cls.takes(name) else None


@dataclass(frozen=True)
class ConfigFile:
    """The file that holds the config, as code names it: its path, the open file, or its text."""


Value: TypeAlias = "Section | Instance | Class | Function | Module | ConfigFile | None"


@dataclass(frozen=True)
class Taken:
    """A parameter as the config feeds it: ``paths`` are where its key may stand."""

    paths: tuple[str, ...]
    parameter: Parameter


@dataclass(frozen=True)
class Take:
    """A class that takes a section, which stands at one of ``paths``.

    ``unknown_keys`` is dropped, rejected, accepted or nested; ``given`` names parameters that
    code sets itself; ``conditional`` says that not every way through the code comes here;
    ``explicit`` that each key is read by name, so that keys and parameters may differ in name.
    """

    cls: Class
    paths: tuple[str, ...]
    unknown_keys: str
    taken: tuple[Taken, ...]
    given: frozenset[str]
    conditional: bool
    explicit: bool = False


@dataclass(frozen=True)
class Read:
    """A key of the config read by name. ``required``: nothing stands in for it; ``reader`` is who reads.

    ``how`` is attribute (``config.x``), key (``config["x"]``), get, pop, setdefault, getattr, hasattr or in.
    """

    paths: tuple[str, ...]
    required: bool
    reader: str
    file: str
    line: int
    how: str
    default: str | None = None

    @property
    def by_key(self) -> bool:
        """It was read from a mapping, or as from one: ``config["x"]``, not ``config.x``."""
        return self.how != "attribute"


@dataclass(frozen=True)
class Use:
    """A read of any kind, of the raw config or of an object made from it, wherever in the family it stands.

    ``name`` is the key or attribute as it is read, ``cls`` the class of the object; ``declared``
    says whether that class has such an attribute, None where that cannot be told; ``function``
    reads; ``stage`` is construct or later; ``sure``: every way through the code comes here.
    """

    read: Read
    name: str
    cls: Class | None
    declared: bool | None
    function: str
    stage: str
    sure: bool


@dataclass(frozen=True)
class Dependency:
    """Something that the code presupposes of one parameter by another.

    ``relation`` is divisible (``paths`` by ``others``), equal, same-length, derived (``paths`` is
    made from ``others``) or stands-in (``others`` is used where ``paths`` is absent). ``asserted``:
    the code raises where it does not hold, else its arithmetic implies it.
    """

    relation: str
    paths: tuple[str, ...]
    others: tuple[str, ...]
    asserted: bool
    expression: str
    reader: str
    file: str
    line: int
    sure: bool


def join(one: Value, other: Value) -> Value:
    """What a name stands for that may be ``one`` or ``other``: an instance if either is, else both sections."""
    if one is None or other is None or one is other:
        return one if one is not None else other
    if isinstance(one, Section) and isinstance(other, Section):
        both = {name: value for name, value in one.given.items() if name in other.given}
        maybe = {**other.maybe, **one.maybe}
        for name, value in [*one.given.items(), *other.given.items()]:
            if name not in both:
                maybe[name] = value
        paths = tuple(dict.fromkeys([*one.paths, *other.paths]))
        return Section(paths, one.filtered or other.filtered, both, maybe)
    if isinstance(one, Instance) and isinstance(other, Instance):
        return other if one.section is None and not any(one.fields.values()) else one
    return one if isinstance(one, Instance) or not isinstance(other, Instance) else other


def below(paths: Iterable[str], name: str) -> tuple[str, ...]:
    """``name`` under each of ``paths``."""
    return tuple(f"{path}.{name}" if path else name for path in paths)


def fingerprint(value: Value) -> object:
    """What a call depends on, for not following the same call twice."""
    if isinstance(value, Section):
        return ("section", value.paths, value.filtered, tuple(value.given), tuple(value.maybe))
    if isinstance(value, Instance):
        known = tuple((name, type(item).__name__) for name, item in value.fields.items() if item is not None)
        return ("instance", id(value.cls), value.section.paths if value.section else None, known)
    if isinstance(value, ConfigFile):
        return "config file"
    return id(value) if value is not None else None
