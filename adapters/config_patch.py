"""RFC 6902 patches of config.json: applied to a copy, never in place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: What an operation has beside its path.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "add": ("value",),
    "remove": (),
    "replace": ("value",),
    "move": ("from",),
    "copy": ("from",),
    "test": ("value",),
}


class PatchError(ValueError):
    """A patch does not fit the document: the message names the operation and the pointer."""


def apply_patch(document: Mapping[str, Any], patch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A patched deep copy of ``document``.

    Operations add, remove, replace, move, copy and test; pointers as RFC 6901. Parents of an
    added member are made where they are missing, since a section may be absent as a whole.
    Raises PatchError when an operation does not fit.
    """
    result: Any = copy.deepcopy(dict(document))
    for number, step in enumerate(patch, start=1):
        operation = step.get("op")
        try:
            if operation in ("add", "replace", "test"):
                value = copy.deepcopy(step["value"])
            elif operation in ("move", "copy"):
                value = _get(result, step["from"])
                if operation == "move":
                    _remove(result, step["from"])
            if operation in ("add", "move", "copy"):
                result = _add(result, step["path"], copy.deepcopy(value))
            elif operation == "replace":
                _get(result, step["path"])
                result = _set(result, step["path"], value)
            elif operation == "remove":
                _remove(result, step["path"])
            elif operation == "test":
                if _get(result, step["path"]) != value:
                    raise PatchError("the value is another")
            else:
                raise PatchError("there is no such operation")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PatchError(f"step {number}, {operation} {step.get('path')}: {error}") from error
    if not isinstance(result, dict):
        raise PatchError("the patched config is not an object")
    return result


def check_operation(step: object) -> None:
    """Raise PatchError unless ``step`` has the form of an operation of RFC 6902, whatever it is applied to."""
    if not isinstance(step, Mapping):
        raise PatchError("an operation is an object")
    operation = step.get("op")
    if not isinstance(operation, str) or operation not in _NEEDS:
        raise PatchError(f"there is no operation {operation!r}; there are {', '.join(_NEEDS)}")
    for name in ("path", *_NEEDS[operation]):
        if name not in step:
            raise PatchError(f"{operation} lacks {name!r}")
        if name != "value":
            if not isinstance(step[name], str):
                raise PatchError(f"{name} is a text")
            pointer_parts(step[name])


def pointer_parts(pointer: str) -> list[str]:
    """The keys of a JSON pointer (RFC 6901). Raises PatchError for text that is none."""
    if pointer and not pointer.startswith("/"):
        raise PatchError(f"{pointer!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _step(container: Any, part: str) -> Any:
    return container[int(part)] if isinstance(container, list) else container[part]


def _get(document: Any, pointer: str) -> Any:
    for part in pointer_parts(pointer):
        document = _step(document, part)
    return document


def _add(document: Any, pointer: str, value: Any) -> Any:
    parts = pointer_parts(pointer)
    if not parts:
        return value
    container = document
    for part in parts[:-1]:
        if isinstance(container, dict) and part not in container:
            container[part] = {}
        container = _step(container, part)
    if isinstance(container, list):
        container.insert(len(container) if parts[-1] == "-" else int(parts[-1]), value)
    else:
        container[parts[-1]] = value
    return document


def _set(document: Any, pointer: str, value: Any) -> Any:
    parts = pointer_parts(pointer)
    if not parts:
        return value
    container = document
    for part in parts[:-1]:
        container = _step(container, part)
    if isinstance(container, list):
        container[int(parts[-1])] = value
    else:
        container[parts[-1]] = value
    return document


def _remove(document: Any, pointer: str) -> None:
    parts = pointer_parts(pointer)
    container = document
    for part in parts[:-1]:
        container = _step(container, part)
    if isinstance(container, list):
        del container[int(parts[-1])]
    else:
        del container[parts[-1]]


def patch_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A patch that makes ``new`` of ``old``: each operation for another place, sections gone into.

    So any part of its operations can be applied as well.
    """
    return list(_steps(old, new, ""))


def _steps(old: Mapping[str, Any], new: Mapping[str, Any], at: str) -> Iterator[dict[str, Any]]:
    for key in [*old, *(key for key in new if key not in old)]:
        pointer = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in new:
            yield {"op": "remove", "path": pointer}
        elif key not in old:
            yield {"op": "add", "path": pointer, "value": copy.deepcopy(new[key])}
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            yield from _steps(old[key], new[key], pointer)
        elif json.dumps(old[key]) != json.dumps(new[key]):  # 1, 1.0 and true are not the same here
            yield {"op": "replace", "path": pointer, "value": copy.deepcopy(new[key])}
