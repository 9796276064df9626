"""A config patch as Python statements on a dictionary ``config``, as a person would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_diagnose.adapters.config_patch import apply_patch, pointer_parts
from mlx_diagnose.adapters.python_literals import INDENT, WIDTH, call, literal

#: Functions of ``snippets/config.py`` that statements may call.
HELPERS = ("put", "take")


def statements(document: Mapping[str, Any], patch: Sequence[Mapping[str, Any]]) -> list[str]:
    """Statements, each one or several lines of one indentation, that do to ``document`` what ``patch`` says.

    Raises PatchError where the patch does not fit.
    """
    made: list[str] = []
    state: dict[str, Any] = dict(document)
    for step in patch:
        made += _step(state, step)
        state = apply_patch(state, [step])
    return made


def _step(state: Any, step: Mapping[str, Any]) -> list[str]:
    operation = step["op"]
    if operation == "test":
        return []
    path = _path(state, step["path"])
    if operation == "remove":
        return [_removed(path)]
    if operation == "replace":
        return [_assigned(path, step["value"]) if path else _simple("config", literal(step["value"], 1))]
    if operation == "add":
        return [*_sections(state, path), _put(state, path, step["value"])]
    origin = _path(state, step["from"])
    value = _at(state, origin)
    moved = operation == "move"
    line = f"{INDENT}{_expression(path)} = {_expression(origin[:-1])}.pop({literal(origin[-1])})"
    if moved and len(line) <= WIDTH and isinstance(_at(state, path[:-1]), dict):
        return [*_sections(state, path), line]
    # A value that was moved is written out: what it was is known.
    after = apply_patch(state, [{"op": "remove", "path": step["from"]}]) if moved else state
    return [*([_removed(origin)] if moved else []), *_sections(after, path), _put(after, path, value)]


def _path(state: Any, pointer: str) -> list[str | int]:
    """The keys of a pointer; those of lists as numbers."""
    path: list[str | int] = []
    for part in pointer_parts(pointer):
        if isinstance(state, list):
            path.append(len(state) if part == "-" else int(part))
        else:
            path.append(part)
        try:
            state = state[path[-1]]
        except (KeyError, IndexError, TypeError):
            state = {}
    return path


def _at(state: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        try:
            state = state[part]
        except (KeyError, IndexError, TypeError):
            return {}
    return state


def _sections(state: Any, path: Sequence[str | int]) -> list[str]:
    """Sections above ``path`` that are missing as a whole."""
    made = []
    for depth in range(1, len(path)):
        parent = _at(state, path[: depth - 1])
        if isinstance(parent, dict) and path[depth - 1] not in parent:
            made.append(_assigned(path[:depth], {}))
            state = apply_patch(state, [{"op": "add", "path": _pointer(path[:depth]), "value": {}}])
    return made


def _put(state: Any, path: Sequence[str | int], value: Any) -> str:
    if not path:
        return _simple("config", literal(value, 1))
    if isinstance(_at(state, path[:-1]), list):
        line = f"{INDENT}{_expression(path[:-1])}.insert({path[-1]}, {literal(value, 1)})"
        return line if len(line) <= WIDTH and "\n" not in line else _called("put", path, value)
    return _assigned(path, value)


def _assigned(path: Sequence[str | int], value: Any) -> str:
    left = _expression(path)
    line = _simple(left, literal(value, 1, at=len(INDENT) + len(left) + 3))
    first = line.split("\n", 1)[0]
    return line if len(first) <= WIDTH and len(left) < WIDTH // 2 else _called("put", path, value)


def _simple(left: str, value: str) -> str:
    return f"{INDENT}{left} = {value}"


def _removed(path: Sequence[str | int]) -> str:
    line = f"{INDENT}del {_expression(path)}"
    return line if len(line) <= WIDTH else _called("take", path)


def _called(function: str, path: Sequence[str | int], *value: Any) -> str:
    """For what is too long for a line."""
    return INDENT + call(function, ["config", literal(list(path), 2), *(literal(item, 2) for item in value)], 1)


def _expression(path: Sequence[str | int]) -> str:
    return "config" + "".join(f"[{literal(part)}]" for part in path)


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
