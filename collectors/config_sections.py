"""The sections of a config, as the classes that take them see them.

Joins the document of a family's classes with the config itself: of the places that may serve,
the one that is given; of the classes that may take a section, what they agree on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mlx_diagnose.collectors.config import value_at

_ABSENT: Any = object()
#: Keys that a section must share with a class for it to be that class's.
_LEAST_COMMON = 3
#: So many keys of a section that are nobody's where they stand are no chance.
_MANY = 6
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a class takes (or, for an unknown one, would have to take). ``path`` is dotted.

    ``nested``: it is annotated with a config class; ``set_by_code``: the call gives it already.
    """

    path: str
    name: str
    class_name: str
    required: bool = False
    type: str | None = None
    default: str | None = None
    is_section: bool = False
    nested: bool = False
    set_by_code: bool = False
    file: str | None = None
    line: int | None = None

    @property
    def section(self) -> str:
        return self.path[: -len(self.name) - 1] if self.path != self.name else ""


@dataclass(frozen=True, slots=True)
class Taker:
    """A class that takes the section."""

    class_name: str
    unknown_keys: str
    conditional: bool
    given: frozenset[str]
    keys: tuple[Key, ...]
    file: str | None
    line: int | None


@dataclass
class Section:
    """One section: who takes it, and what config.json has there.

    ``hollow``: an object without any key of it; ``single``: a single value, which is not absent, whatever else it is.
    """

    path: str
    takers: list[Taker] = field(default_factory=list)
    reads: dict[str, Key] = field(default_factory=dict)
    loose_reads: frozenset[str] = frozenset()
    values: Mapping[str, Any] = field(default_factory=dict)
    present: bool = False
    parent_present: bool = True
    demanded: bool = False
    children: frozenset[str] = frozenset()
    found_at: str | None = None
    moved_from: str | None = None
    hollow: bool = False
    single: bool = False

    @cached_property
    def known_keys(self) -> list[Key]:
        """Keys that some taker takes, or that are read by name; the same key of several takers stands once."""
        merged: dict[str, Key] = {}
        for taker in self._deciding:
            for key in taker.keys:
                merged.setdefault(key.name, key)
        for taker in self.takers:
            for key in taker.keys:
                merged.setdefault(key.name, key)
        return [*merged.values(), *(key for name, key in self.reads.items() if name not in merged)]

    @property
    def _deciding(self) -> list[Taker]:
        """The takers that every way through the code meets; if there is none, all of them."""
        return [t for t in self.takers if not t.conditional] or self.takers

    def is_required(self, name: str) -> bool:
        """Without this key of the section, building the model fails."""
        sure = [t for t in self.takers if not t.conditional]
        if any(key.name == name and key.required for taker in sure for key in taker.keys):
            return True
        if name in self.reads and self.reads[name].required:
            return True
        if sure or not self.takers:
            return False
        # Takers on different ways: what all of them ask for is needed on every way.
        return all(any(k.name == name and k.required for k in taker.keys) for taker in self.takers)

    @cached_property
    def absent(self) -> list[Key]:
        """Keys that are taken and not given; of a section that is absent as a whole, only those it needs."""
        found = []
        for key in self.known_keys:
            if key.name in self.values:
                continue
            required = self.is_required(key.name)
            if (self.present or (required and self.missing)) and (required or key.name not in self.reads):
                is_section = key.nested or key.name in self.children
                found.append(replace(key, required=required, is_section=is_section))
        return found

    @cached_property
    def defaulted(self) -> list[Key]:
        """Keys that the code asks for by name, that are not given, and for which a default of its own stands in."""
        told = {key.name for key in self.absent}
        missing = (key for key in self.known_keys if key.name not in self.values and key.name not in told)
        return [key for key in missing if self.present and key.default is not None]

    @cached_property
    def unknown(self) -> list[Key]:
        """Given keys that nobody takes or reads. None where a taker accepts whatever comes."""
        takers = [t for t in self.takers if t.unknown_keys != "nested"] or self.takers
        if not self.present or not takers or any(t.unknown_keys == "accepted" for t in takers):
            return []
        known = {key.name for key in self.known_keys} | self.children
        class_name = self._deciding[0].class_name
        found = []
        for name in self.values:
            given_twice = self.effect == "rejected" and any(name in t.given for t in takers)
            overlooked = name in self.loose_reads and self.effect != "rejected"
            if given_twice or (name not in known and not overlooked):
                path = f"{self.path}.{name}" if self.path else name
                found.append(Key(path, name, class_name, set_by_code=given_twice))
        return found

    @property
    def effect(self) -> str:
        """What becomes of an unknown key: dropped or rejected."""
        return "rejected" if any(t.unknown_keys == "rejected" for t in self._deciding) else "dropped"

    @property
    def required(self) -> bool:
        """Building the model fails without the section."""
        sure = any(key.required for taker in self.takers if not taker.conditional for key in taker.keys)
        return self.demanded or sure or any(key.required for key in self.reads.values())

    @property
    def missing(self) -> bool:
        """It is absent as a whole, which matters, and not for want of the section around it."""
        return (
            bool(self.path)
            and (not self.present or self.hollow)
            and not self.single
            and self.parent_present
            and (self.required or self.found_at is not None or self.moved_from is not None)
        )


def sections_of(document: Mapping[str, Any], config: Mapping[str, Any]) -> list[Section]:
    """The sections that the classes of ``document`` take, the outermost first."""
    sections: dict[str, Section] = {}

    def section(path: str) -> Section:
        return sections.setdefault(path, Section(path))

    for cls in document["classes"]:
        path = chosen(cls["sections"], config)
        keys = tuple(_key(cls, path, p, config) for p in cls["parameters"])
        taker = Taker(
            cls["class_name"],
            cls["unknown_keys"],
            cls["conditional"],
            frozenset(cls["given"]),
            keys,
            cls["file"],
            cls["line"],
        )
        section(path).takers.append(taker)
        for key in keys:  # explicit takes may reach into other sections
            if key.section != path:
                section(key.section).reads.setdefault(key.name, key)
    for read in document["reads"]:
        path = chosen(read["paths"], config)
        parent, _, name = path.rpartition(".")
        known = section(parent).reads.get(name)
        if known is None or (read["required"] and not known.required):
            section(parent).reads[name] = Key(
                path, name, read["reader"], read["required"], file=read["file"], line=read["line"]
            )
        for other in read["paths"]:
            parent, _, name = other.rpartition(".")
            section(parent).reads.setdefault(name, Key(other, name, read["reader"]))
    _look_up(sections, config, frozenset(document["loose_reads"]))
    return sorted(sections.values(), key=lambda s: (s.path.count(".") + bool(s.path), s.path))


def _look_up(sections: Mapping[str, Section], config: Mapping[str, Any], loose: frozenset[str]) -> None:
    for path, section in sections.items():
        value = value_at(config, path)
        section.present = isinstance(value, Mapping)
        section.single = isinstance(value, (bool, int, float, str))
        section.values = value if isinstance(value, Mapping) else {}
        section.loose_reads = loose
        parent, _, name = path.rpartition(".")
        section.parent_present = not parent or isinstance(value_at(config, parent), Mapping)
        section.children = frozenset(
            other[len(path) + bool(path) :].split(".")[0]
            for other in sections
            if other != path and (not path or other.startswith(f"{path}."))
        )
        owner = sections.get(parent)
        if path and owner is not None:
            section.demanded = owner.is_required(name) and (owner.present or not parent)
        if not section.present and path:
            section.found_at = _flattened(section, sections, config)
            section.moved_from = None if section.found_at is not None else _moved(section, sections, config)
        elif path and section.present and not section.values.keys() & _names(section):
            # ``"dit": {"dit": {...}}``
            section.moved_from = _moved(section, sections, config, below=f"{path}.")
            section.hollow = section.moved_from is not None
    hollow = {path for path, section in sections.items() if section.hollow}
    for path, section in sections.items():
        section.parent_present &= path.rpartition(".")[0] not in hollow


def _names(section: Section) -> set[str]:
    """Keys that the classes of a section take or read."""
    return {*(key.name for taker in section.takers for key in taker.keys), *section.reads, *section.children}


def _flattened(section: Section, sections: Mapping[str, Section], config: Mapping[str, Any]) -> str | None:
    """The level above where the keys of an absent section stand, if most of them do and are nobody's there."""
    names = _names(section)
    needed = {key.name for taker in section.takers for key in taker.keys if key.required} or names
    level = section.path.rpartition(".")[0]
    while True:
        here = value_at(config, level)
        owner = sections.get(level)
        own = {key.name for key in owner.known_keys} if owner is not None else set()
        strays = set(here) & names - own if isinstance(here, Mapping) else set()
        if len(strays) >= _MANY or (len(strays) >= 2 and len(strays & needed) * 2 >= len(needed - own)):
            return level
        if not level:
            return None
        level = level.rpartition(".")[0]


def _moved(section: Section, sections: Mapping[str, Section], config: Mapping[str, Any], below: str = "") -> str | None:
    """The one section (whose path begins with ``below``) that nothing takes and that has most of the keys of
    an absent one."""
    names = _names(section)
    needed = {key.name for taker in section.takers for key in taker.keys if key.required} or names
    taken = {path for path, known in sections.items() if known.takers or known.reads}
    found = [
        path
        for path, value in _objects(config)
        if path not in taken
        and path.startswith(below)
        and len(value.keys() & names) >= _LEAST_COMMON
        and (below or len(value.keys() & needed) * 2 > len(needed) or len(value.keys() & names) >= _MANY)
        and len(value.keys() & names) * 2 > len(value)
    ]
    return found[0] if len(found) == 1 else None


def _objects(config: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            here = f"{path}.{name}" if path else name
            yield here, value
            if depth < _MAX_DEPTH:
                yield from _objects(value, here, depth + 1)


def chosen(paths: Sequence[str], config: Mapping[str, Any]) -> str:
    """The first of ``paths`` that is given, else the preferred one."""
    given: Iterable[str] = (path for path in paths if value_at(config, path, None) is not None)
    return next(iter(given), paths[0])


def _key(cls: Mapping[str, Any], section: str, parameter: Mapping[str, Any], config: Mapping[str, Any]) -> Key:
    own = f"{section}.{parameter['name']}" if section else parameter["name"]
    given = [path for path in parameter["paths"] if value_at(config, path, _ABSENT) is not _ABSENT]
    path = given[0] if given else own if own in parameter["paths"] else parameter["paths"][0]
    return Key(
        path,
        parameter["name"],
        cls["class_name"],
        parameter["required"],
        parameter["type"],
        parameter["default"],
        nested=parameter["nested"] is not None,
        file=cls["file"],
        line=cls["line"],
    )
