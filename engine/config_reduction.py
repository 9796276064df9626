"""Shrinks a config along its structure: whole sections first, then what is in those that stay.

Hierarchical delta debugging (Misherghi and Su, ICSE 2006): :func:`collectors.ddmin.ddmin` on each level
of the tree, from the top; a removed section takes everything in it along.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from mlx_diagnose.collectors.config_edit import Edit, Path
from mlx_diagnose.collectors.ddmin import ddmin

Holds = Callable[[dict[str, Any]], bool]


def reduce_config(config: Mapping[str, Any], holds: Holds) -> dict[str, Any]:
    """The smallest part of ``config`` for which ``holds``: nothing in it can be left out."""
    reduced = copy.deepcopy(dict(config))
    coarse = True
    while True:
        before = reduced
        depth = 1
        while level := list(_level(reduced, depth)):
            reduced = _reduce_level(reduced, level, holds, coarse)
            depth += 1
        # What held a section in place may be gone with a deeper one.
        if reduced == before or depth <= 2:
            return reduced
        coarse = False


def _reduce_level(config: dict[str, Any], level: list[Path], holds: Holds, coarse: bool) -> dict[str, Any]:
    def part(kept: Collection[Path]) -> dict[str, Any]:
        stay = set(kept)
        return without(config, [path for path in level if path not in stay])

    return part(ddmin(level, lambda kept: holds(part(kept)), coarse=coarse))


def _level(config: Any, depth: int, path: Path = ()) -> Iterator[Path]:
    """Paths of everything that stands ``depth`` steps deep; a list of plain values is one thing."""
    inside: Iterator[tuple[str | int, Any]]
    if isinstance(config, dict):
        inside = iter(list(config.items()))
    elif isinstance(config, list) and any(isinstance(item, (dict, list)) for item in config):
        inside = iter(list(enumerate(config)))
    else:
        return
    for key, value in inside:
        if depth == 1:
            yield (*path, key)
        else:
            yield from _level(value, depth - 1, (*path, key))


def without(config: Mapping[str, Any], paths: Collection[Path]) -> dict[str, Any]:
    """A copy of ``config`` without what stands at ``paths``, which are of one depth."""
    smaller = copy.deepcopy(dict(config))
    for path in reversed(list(paths)):  # from the end: items of a list move up
        parent: Any = smaller
        for part in path[:-1]:
            parent = parent[part]
        del parent[path[-1]]
    return smaller


def neutralise(config: Mapping[str, Any], holds: Holds) -> tuple[dict[str, Any], list[Path]]:
    """``config`` with every value that does not matter made neutral (1, 1.0, "", []), and the paths of those."""
    neutral: list[Path] = []
    plain = copy.deepcopy(dict(config))
    for path, value in _values(config):
        instead = _neutral(value)
        if instead is None:
            continue
        if instead == value:
            continue
        changed = Edit("replace", path, instead).apply(plain)
        if holds(changed):
            plain = changed
            neutral.append(path)
    return plain, neutral


def _values(config: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _values(value, (*path, key))
    else:
        yield path, config


def _neutral(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return None
    return {int: 1, float: 1.0, str: "", list: []}.get(type(value))


def count(config: Mapping[str, Any]) -> int:
    """Single values in a config; an empty section or list in it counts as one."""
    return sum(count(value) or 1 if isinstance(value, dict) else _items(value) for value in config.values())


def _items(value: Any) -> int:
    if isinstance(value, list):
        return sum(count(item) or 1 if isinstance(item, dict) else _items(item) for item in value) or 1
    return 1
