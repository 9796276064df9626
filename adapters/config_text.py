"""RFC 6902 patches of the text of config.json: what is not changed stays as its author wrote it.

Every step edits the text where the value stands, so that indentation, the order of keys and the
spelling of numbers survive. The result is compared with what the patch makes of the data; where
it differs (a key given twice, a document that is one line long and nested oddly), the whole
document is written anew, indented as the old one was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_diagnose.adapters.config_patch import apply_patch, pointer_parts

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_INDENT = re.compile(r"\n([ \t]+)\S")
_DEFAULT_INDENT = "  "


@dataclass(slots=True)
class _Node:
    """A value of the text: its span, and for containers the members by key (or index) in order.

    ``keys`` holds where the text of a member begins: its key in an object, itself in a list.
    """

    start: int
    end: int = 0
    kind: str = ""
    members: dict[str, _Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)


def patch_text(text: str, patch: Sequence[Mapping[str, Any]]) -> str:
    """``text``, a JSON object, with ``patch`` applied.

    Raises PatchError when the patch does not fit, ValueError for what is no JSON.
    """
    wanted = apply_patch(json.loads(text), patch)
    try:
        edited = text
        for step in patch:
            edited = _edited(edited, step)
        if _same(json.loads(edited), wanted):
            return edited
    except (ValueError, LookupError, RecursionError):
        pass
    return _json(wanted, _indent(text)) + ("\n" if text.endswith("\n") else "")


def _json(value: Any, indent: str | None = None) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # Half of a surrogate pair is JSON, and no UTF-8.
    return text if text.isascii() or not re.search("[\ud800-\udfff]", text) else json.dumps(value, indent=indent)


def _same(left: Any, right: Any) -> bool:
    """Equal, and 1 is neither 1.0 nor true."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _indent(text: str) -> str | None:
    found = _INDENT.search(text)
    return found[1] if found else (_DEFAULT_INDENT if "\n" in text.strip() else None)


def _edited(text: str, step: Mapping[str, Any]) -> str:
    operation, parts = step["op"], pointer_parts(step["path"])
    if operation == "test":
        return text
    if operation == "remove":
        return _removed(text, parts)
    if operation == "replace":
        node = _find(_tree(text), parts)
        return text[: node.start] + _value(step["value"], text, parts) + text[node.end :]
    if operation == "add":
        return _added(text, parts, step["value"])
    origin = pointer_parts(step["from"])
    value = json.loads(_slice(text, _find(_tree(text), origin)))
    if operation == "move":
        if origin[:-1] == parts[:-1] and _find(_tree(text), parts[:-1]).kind == "{":
            return _renamed(text, origin, parts[-1])
        text = _removed(text, origin)
    return _added(text, parts, value)


def _slice(text: str, node: _Node) -> str:
    return text[node.start : node.end]


def _renamed(text: str, parts: Sequence[str], name: str) -> str:
    """The key under a new name in its old place."""
    parent = _find(_tree(text), parts[:-1])
    if name in parent.members:
        text = _removed(text, [*parts[:-1], name])
        parent = _find(_tree(text), parts[:-1])
    start, end = parent.keys[parts[-1]]
    return text[:start] + _json(name) + text[end:]


def _removed(text: str, parts: Sequence[str]) -> str:
    parent = _find(_tree(text), parts[:-1])
    names = list(parent.members)
    position = names.index(parts[-1])
    node = parent.members[parts[-1]]
    if position + 1 < len(names):
        # With the space behind it: the next member takes its place.
        following = parent.keys[names[position + 1]][0]
        return text[: parent.keys[parts[-1]][0]] + text[following:]
    if position:
        before = parent.members[names[position - 1]]
        return text[: before.end] + text[node.end :]
    return text[: parent.start + 1] + text[parent.end - 1 :]


def _added(text: str, parts: Sequence[str], value: Any) -> str:
    tree = _tree(text)
    for depth in range(1, len(parts)):
        parent = _find(tree, parts[: depth - 1])
        if parent.kind == "{" and parts[depth - 1] not in parent.members:
            # A section that is missing as a whole.
            for part in reversed(parts[depth:]):
                value = {part: value}
            parts = parts[:depth]
            break
    parent = _find(tree, parts[:-1])
    name = parts[-1]
    if parent.kind == "{" and name in parent.members:
        node = parent.members[name]
        return text[: node.start] + _value(value, text, parts) + text[node.end :]
    written = _value(value, text, parts)
    if parent.kind == "{":
        spaced = ": " if re.search(r'":\s', text) or not parent.members else ":"
        written = _json(name) + spaced + written
    names = list(parent.members)
    if parent.kind == "[" and name != "-" and int(name) < len(names):
        at = parent.keys[name][0]
        return text[:at] + written + "," + _gap(text, parent, names) + text[at:]
    if names:
        last = parent.members[names[-1]]
        return text[: last.end] + "," + _gap(text, parent, names) + written + text[last.end :]
    return text[: parent.start + 1] + _framed(written, text, len(parts)) + text[parent.end - 1 :]


def _gap(text: str, parent: _Node, names: Sequence[str]) -> str:
    """The space between two members, as it is before the last one."""
    start = parent.keys[names[-1]][0]
    space = text[:start]
    return space[len(space.rstrip()) :] or ("" if len(names) > 1 else " ")


def _framed(written: str, text: str, depth: int) -> str:
    """The only member of a container that was empty."""
    indent = _indent(text)
    if indent is None:
        return written
    return f"\n{indent * depth}{written}\n{indent * (depth - 1)}"


def _value(value: Any, text: str, parts: Sequence[str]) -> str:
    indent = _indent(text)
    if indent is None or not isinstance(value, (dict, list)) or not value:
        return _json(value)
    if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        return _json(value)
    return _json(value, indent).replace("\n", "\n" + indent * len(parts))


def _find(tree: _Node, parts: Sequence[str]) -> _Node:
    for part in parts:
        tree = tree.members[part]
    return tree


def _tree(text: str) -> _Node:
    """The values of ``text`` with their spans; iterative, so that nesting costs no stack."""
    root: _Node | None = None
    stack: list[_Node] = []
    key: tuple[str, int, int] | None = None
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ",:":
            continue
        if token in "]}":
            stack.pop().end = match.end()
            continue
        parent = stack[-1] if stack else None
        if parent is not None and parent.kind == "{" and key is None:
            key = (json.loads(token, strict=False), match.start(), match.end())
            continue
        node = _Node(match.start(), match.end(), token if token in "{[" else "")
        if parent is None:
            root = node
        else:
            name, start, end = key or (str(len(parent.members)), match.start(), match.end())
            parent.members[name] = node
            parent.keys[name] = (start, end)
        key = None
        if node.kind:
            stack.append(node)
    if root is None:
        raise ValueError("there is no value")
    return root
