"""Places of a config that belong together and differ: the model is built once one is made like the other.

Two numbers of two sections, or a number and the length of a list, that agree in the family's
known-good config: a width that an encoder gives and a decoder takes, a count of codebooks and their sizes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from mlx_diagnose.collectors import components
from mlx_diagnose.collectors.builds import Build, Builds
from mlx_diagnose.collectors.components import Component
from mlx_diagnose.collectors.config_edit import Edit, Path, dotted
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Pairs that are tried.
_MAX_PAIRS = 16


def collect(
    memory: WorkingMemory,
    config: Mapping[str, Any],
    good: Mapping[str, Any],
    parts: Sequence[Component],
    builds: Builds,
) -> None:
    """Assert ``component_disagreement`` facts of ``config``, whose model is not built, against the known-good one."""
    known, mine = dict(_sizes(good)), dict(_sizes(config))
    tried = 0
    for one, other in combinations([path for path in known if path in mine], 2):
        agreed, sizes = _size(known[one]) == _size(known[other]), (mine[one], mine[other])
        if not agreed or _size(sizes[0]) == _size(sizes[1]) or not _apart(one, other, *sizes):
            continue
        tried += 1
        if tried > _MAX_PAIRS:
            return
        new, other_new = _like(sizes[0], sizes[1]), _like(sizes[1], sizes[0])
        first, second = _built(config, one, new, builds), _built(config, other, other_new, builds)
        if first is None or second is None:
            return
        if first.built or second.built:
            memory.add(
                "component_disagreement",
                Provenance("minimal", path=dotted(one)),
                path=dotted(one),
                value=json.dumps(sizes[0]),
                new_value=json.dumps(new),
                component=_owner(parts, one),
                other_path=dotted(other),
                other_value=json.dumps(sizes[1]),
                other_new_value=json.dumps(other_new),
                other_component=_owner(parts, other),
                either=first.built and second.built,
                built_with=dotted(one if first.built else other),
            )


def _sizes(config: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Whole numbers above 1, and lists of plain values, which have a length."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _sizes(value, (*path, key))
        elif (type(value) is int and value > 1) or (
            isinstance(value, list) and len(value) > 1 and not isinstance(value[0], (list, dict))
        ):
            yield (*path, key), value


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value)


def _apart(one: Path, other: Path, value: Any, other_value: Any) -> bool:
    """Numbers of one section are its own business; two lists say nothing of each other."""
    lists = isinstance(value, list) + isinstance(other_value, list)
    return lists == 1 or (lists == 0 and one[:-1] != other[:-1])


def _like(value: Any, other: Any) -> Any:
    """``value`` with the size of ``other``: a list is cut, or filled up with its last item."""
    size = _size(other)
    return [*value[:size], *[value[-1]] * (size - len(value))] if isinstance(value, list) else size


def _built(config: Mapping[str, Any], path: Path, value: Any, builds: Builds) -> Build | None:
    return builds.build(Edit("replace", path, value).apply(config))


def _owner(parts: Sequence[Component], path: Path) -> str | None:
    """The part that a place of the config belongs to."""
    found = components.of_section(parts, str(path[0])) if len(path) > 1 else []
    return found[0].name if found else None
