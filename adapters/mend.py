"""A mend: everything that is to be changed about one model, as data, with its inverse where it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_diagnose.adapters.config_patch import apply_patch, pointer_parts


@dataclass(frozen=True, slots=True)
class Mend:
    """``config_patch`` (RFC 6902) of config.json, ``weight_map`` operations on its tensors, loader ``shims``.

    ``environment`` are variables for the process, ``copies`` files that are missing and where each is taken from.
    """

    config_patch: tuple[Mapping[str, Any], ...] = ()
    weight_map: tuple[Mapping[str, Any], ...] = ()
    shims: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)

    @property
    def changes_files(self) -> bool:
        """A mended directory differs from the original."""
        return bool(self.config_patch or self.weight_map or self.copies)

    @property
    def empty(self) -> bool:
        """There is nothing to do."""
        return not (self.changes_files or self.shims or self.environment)


def inverse_patch(document: Mapping[str, Any], patch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The patch that leads from the patched ``document`` back to it, the order of keys aside.

    Raises PatchError where ``patch`` does not fit.
    """
    inverse: list[dict[str, Any]] = []
    state = dict(document)
    for step in patch:
        inverse[:0] = _inverse(state, step)
        state = apply_patch(state, [step])
    return inverse


def _inverse(before: Mapping[str, Any], step: Mapping[str, Any]) -> list[dict[str, Any]]:
    operation, path = step["op"], step["path"]
    if operation == "test":
        return []
    if operation == "remove":
        return [{"op": "add", "path": path, "value": _at(before, path)}]
    if operation == "replace":
        return [{"op": "replace", "path": path, "value": _at(before, path)}]
    undone = _unadded(before, path)
    if operation == "move":
        origin = step["from"]
        return [*undone, {"op": "add", "path": origin, "value": _at(before, origin)}]
    return undone


def _unadded(before: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """Takes away what an addition made: the value, or the topmost section that was not there."""
    value: Any = before
    made = ""
    for part in pointer_parts(path):
        made += "/" + part.replace("~", "~0").replace("/", "~1")
        if isinstance(value, list):
            if part == "-":
                return [{"op": "remove", "path": f"{made[:-1]}{len(value)}"}]
            if made == path:
                return [{"op": "remove", "path": path}]
            value = value[int(part)]
        elif part not in value:
            return [{"op": "remove", "path": made}]
        else:
            value = value[part]
    return [{"op": "replace", "path": path, "value": value}]


def _at(document: Any, path: str) -> Any:
    for part in pointer_parts(path):
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
