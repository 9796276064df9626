"""What the tensors of a checkpoint say of config values, told from headers and the source of the family alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.collectors.config_sections import chosen
from mlx_diagnose.collectors.tensors import TensorTable

#: Names of numbers of layers.
_COUNTS = re.compile(r"(layers?|depth|blocks?)$")
#: A name shortened to fewer parts than this may be any other tensor's.
_LEAST_PARTS = 3

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """``size`` is what ``tensor`` shows for the config ``path``: an example, of ``count``.

    ``axis`` is the axis of that size; None for a number of layers.
    """

    path: str
    size: int
    tensor: str
    axis: int | None
    count: int


def evidence(document: Mapping[str, Any], config: Mapping[str, Any], table: TensorTable) -> list[Evidence]:
    """What ``table`` shows, by the ``sizes`` of a document of :mod:`sources`; each path and tensor once.

    Names are matched from their end, since ``sanitize`` often changes how they begin; what could
    be several tensors is left out.
    """
    names: dict[Parts, list[str]] = {}
    for name in table:
        names.setdefault(_collapsed(name), []).append(name)
    found: dict[tuple[str, str, int | None], Evidence] = {}
    for entry in document.get("sizes", ()):
        path = chosen(entry["paths"], config)
        parts = tuple(entry["tensor"].split("."))
        shown = _count(parts, names) if entry["axis"] is None else _axis(parts, entry["axis"], names, table)
        if shown is not None:
            size, example, count = shown
            found.setdefault((path, example, entry["axis"]), Evidence(path, size, example, entry["axis"], count))
    return list(found.values())


def _collapsed(name: str) -> Parts:
    return tuple("*" if part.isdecimal() else part for part in name.split("."))


def _suffixes(parts: Parts) -> Iterator[Parts]:
    yield parts
    for start in range(1, len(parts) - _LEAST_PARTS + 1):
        yield parts[start:]


def _axis(
    parts: Parts, axis: int, names: Mapping[Parts, Sequence[str]], table: TensorTable
) -> tuple[int, str, int] | None:
    for suffix in _suffixes(parts):
        matching = [full for full in names if full[-len(suffix) :] == suffix]
        if not matching:
            continue
        if suffix == parts and parts in names:
            matching = [parts]
        if len(matching) > 1:
            return None
        members = names[matching[0]]
        shown = {table[name].shape[axis] for name in members if _holds(table, name, axis)}
        return (shown.pop(), members[0], len(members)) if len(shown) == 1 else None
    return None


def _holds(table: TensorTable, name: str, axis: int) -> bool:
    """The axis is there, and its length is that of the layer: packed weights are shorter in the last."""
    info = table[name]
    return axis < len(info.shape) and (axis == 0 or info.dtype != "uint32")


def _count(parts: Parts, names: Mapping[Parts, Sequence[str]]) -> tuple[int, str, int] | None:
    """How many layers ``parts`` has: the numbers that follow it."""
    stems: dict[Parts, set[int]] = {}
    for full, members in names.items():
        for at, part in enumerate(full):
            if part == "*" and full[max(0, at - len(parts)) : at] == parts[-at:][: len(parts)]:
                stems.setdefault(full[:at], set()).update(int(name.split(".")[at]) for name in members)
    exact = {stem: numbers for stem, numbers in stems.items() if stem == parts} or stems
    if len(exact) != 1:
        return None
    ((stem, numbers),) = exact.items()
    if len(stem) < 2 and stem != parts:
        return None
    if numbers != set(range(len(numbers))):
        return None
    return len(numbers), ".".join(stem), len(numbers)


def fits(found: Sequence[Evidence], path: str, value: Any) -> bool | None:
    """Whether ``value`` at ``path`` is what the checkpoint shows; None where it shows nothing, or several sizes."""
    here = [item for item in found if item.path == path]
    shown = {item.size for item in here}
    if len(shown) != 1 or type(value) is not int:
        return None
    return value in shown or (None if any(loosely_counted(item) for item in here) else False)


def loosely_counted(item: Evidence) -> bool:
    """A number of layers under a name that does not say so: lists are made longer afterwards
    (mlx_audio/tts/models/zonos2)."""
    return item.axis is None and not _COUNTS.search(item.path)
