"""Changes of a config: single edits in dotted paths, applied to a copy, and as an RFC 6902 patch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Operation = Literal["replace", "add", "rename", "restyle", "move", "remove", "swap"]
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Edit:
    """One change. ``path`` and ``to`` are key sequences (list items by index); ``value`` for replace and add.

    To ``restyle`` is to make all ``moves``, one after the other; ``path`` and ``to`` are those of the first.
    """

    operation: Operation
    path: Path
    value: Any = None
    to: Path | None = None
    moves: tuple[tuple[Path, Path], ...] = ()

    @property
    def renamings(self) -> tuple[tuple[Path, Path], ...]:
        """The keys that get other names, and these."""
        return ((self.path, self.to),) if self.operation == "rename" and self.to is not None else self.moves

    def apply(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A changed deep copy of ``config``. Raises KeyError, IndexError or TypeError where the path leads nowhere."""
        changed = copy.deepcopy(dict(config))
        if self.operation == "restyle":
            for path, to in self.moves:
                changed = Edit("rename", path, to=to).apply(changed)
            return changed
        parent = _parent(changed, self.path, create=self.operation == "add")
        key = self.path[-1]
        if self.operation in ("replace", "add"):
            parent[key] = copy.deepcopy(self.value)
        elif self.operation == "swap":
            assert self.to is not None
            other = _parent(changed, self.to, create=False)
            parent[key], other[self.to[-1]] = other[self.to[-1]], parent[key]
        else:
            value = parent.pop(key)
            if self.operation != "remove":
                assert self.to is not None
                _parent(changed, self.to, create=True)[self.to[-1]] = value
        return changed

    @property
    def dotted(self) -> str:
        """The path as rules and reports write it."""
        return dotted(self.path)


def dotted(path: Path) -> str:
    """``("rates", 0)`` as ``rates.0``."""
    return ".".join(str(part) for part in path)


def json_pointer(path: Path) -> str:
    """The path as a patch writes it (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def pointer_path(pointer: str) -> Path:
    """The keys of objects that :func:`json_pointer` wrote; numbers are not taken for places in lists."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def leaves(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """All scalars of a config with their paths, iteratively, in order."""
    found: list[tuple[Path, Any]] = []
    stack: list[tuple[Path, Any]] = [(path, value)]
    while stack:
        where, item = stack.pop()
        if isinstance(item, dict):
            stack.extend(((*where, key), item[key]) for key in reversed(list(item)))
        elif isinstance(item, list):
            stack.extend(((*where, index), item[index]) for index in reversed(range(len(item))))
        else:
            found.append((where, item))
    return found


def _parent(config: Any, path: Path, *, create: bool) -> Any:
    for part in path[:-1]:
        if create and isinstance(config, dict) and part not in config:
            config[part] = {}
        config = config[part]
    return config
