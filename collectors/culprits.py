"""What of a config makes the family's known-good config fail: the fewest keys that do it.

Every key in which the two differ is a change of the known-good config; delta debugging finds a
smallest set of changes with which that fails as the config itself does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mlx_diagnose.collectors.config_edit import Edit, Path, dotted
from mlx_diagnose.collectors.ddmin import ddmin
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_ABSENT = object()
#: A path, and what stands there in the config (nothing: the key is absent).
Change: TypeAlias = tuple[Path, Any]


def collect(
    memory: WorkingMemory, config: Mapping[str, Any], good: Mapping[str, Any], fails: Callable[[dict[str, Any]], bool]
) -> None:
    """Assert a ``culprit`` fact for each of the fewest changes with which ``good`` ``fails`` as ``config`` does."""
    changes = list(_changes(good, config))
    if not changes or not fails(_with(good, changes)):
        return
    found = ddmin(changes, lambda kept: bool(kept) and fails(_with(good, kept)))
    for path, value in found:
        before = _at(good, path)
        memory.add(
            "culprit",
            Provenance("minimal", path=dotted(path)),
            path=dotted(path),
            value=None if value is _ABSENT else json.dumps(value),
            known_good=None if before is _ABSENT else json.dumps(before),
            together=len(found),
            among=len(changes),
        )


def _changes(good: Mapping[str, Any], config: Mapping[str, Any], path: Path = ()) -> Iterator[Change]:
    """The keys in which the two differ, two levels deep: a section of a section is one thing."""
    for key in [*good, *(key for key in config if key not in good)]:
        old, new = good.get(key, _ABSENT), config.get(key, _ABSENT)
        if isinstance(old, dict) and isinstance(new, dict) and not path:
            yield from _changes(old, new, (key,))
        elif new is _ABSENT or old is _ABSENT or json.dumps(old) != json.dumps(new):
            yield (*path, key), new


def _with(good: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    changed = dict(good)
    for path, value in changes:
        edit = Edit("remove", path) if value is _ABSENT else Edit("add", path, value)
        changed = edit.apply(changed)
    return changed


def _at(config: Any, path: Path) -> Any:
    for part in path:
        if not isinstance(config, dict) or part not in config:
            return _ABSENT
        config = config[part]
    return config
