"""YAML text to a tree of nodes with line and column, and typed access to it.

Only plain data is accepted: one document, no tags, no aliases (an alias bomb is never
expanded), no key given twice. Scalars resolve as in YAML 1.2, so ``no`` and ``on`` are
text, not booleans. Every problem is collected; nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import Any, TypeAlias

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.problems import Problem, did_you_mean, one_of

#: A rule file is a page or two; what is larger is not one.
MAX_BYTES = 256 * 1024
#: The composer recurses in C and overflows its stack at some 20,000 levels.
_MAX_DEPTH = 4000

#: A node of PyYAML: ``id`` (scalar, sequence, mapping), ``tag``, ``value``, ``start_mark``. Its type stubs say less.
Node: TypeAlias = Any

_PREFIX = "tag:yaml.org,2002:"
#: Tags of nodes that have none of their own.
_TAGS = {"scalar": f"{_PREFIX}str", "sequence": f"{_PREFIX}seq", "mapping": f"{_PREFIX}map"}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INDICATOR = re.compile(r"[-?:](?=\s|$)")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def resolve(node: Node) -> Scalar:
    """The value of a scalar by YAML 1.2's core schema; quoted and block scalars are text."""
    text: str = node.value
    if node.style:  # quoted or block
        return text
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text in _NULLS:
        return None
    if text[0] in "-+.0123456789":
        if _INT.fullmatch(text):
            return int(text) if len(text) < 1000 else text
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


@cache
def _loader() -> Any:
    """A loader that resolves nothing: what PyYAML asks in Python for every node has one answer here."""
    import yaml

    base: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    tags = {yaml.ScalarNode: _TAGS["scalar"], yaml.SequenceNode: _TAGS["sequence"], yaml.MappingNode: _TAGS["mapping"]}
    members = {
        "descend_resolver": lambda self, node, index: None,
        "ascend_resolver": lambda self: None,
        "resolve": lambda self, kind, value, implicit: tags[kind],
    }
    return type("PlainLoader", (base,), members)


def _could_overflow(text: str) -> bool:
    """An upper bound of the nesting, from brackets, indentation and indicators of one line."""
    lines = text.splitlines()
    brackets = text.count("[") + text.count("{")
    if 2 * max(map(len, lines), default=0) + brackets <= _MAX_DEPTH:
        return False
    return max(2 * _indent(line) + len(_INDICATOR.findall(line)) for line in lines) + brackets > _MAX_DEPTH


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


class Tree:
    """One file being read: its root node and the problems found so far."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Node | None = self._compose(text)

    def problem(self, node: Node | None, message: str, hint: str = "") -> None:
        """Record a problem at ``node`` (at the top of the file for None)."""
        line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (1, 1)
        self.problems.append(Problem(self.file, line, column, message, hint))

    def _compose(self, text: str) -> Node | None:
        import yaml

        if len(text) > MAX_BYTES or _could_overflow(text):
            self.problem(None, f"the file is too large or too deeply nested for a rule (limit {MAX_BYTES} characters)")
            return None
        try:
            root: Node | None = yaml.compose(text, Loader=_loader())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            said = ", ".join(part for part in (error.context, error.problem) if part)
            self.problems.append(Problem(self.file, line, column, f"not valid YAML: {said}"))
            return None
        except (yaml.YAMLError, RecursionError) as error:
            self.problem(None, f"not valid YAML: {str(error).splitlines()[0]}")
            return None
        if root is None:
            self.problem(None, "the file is empty")
            return None
        return root if self._plain_data(root) else None

    def _plain_data(self, root: Node) -> bool:
        before = len(self.problems)
        seen: set[int] = set()
        stack = [root]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                self.problem(
                    node, "an alias (*name) is used here", "Write the value out; aliases are not allowed in rules."
                )
                continue
            seen.add(id(node))
            kind = node.id
            if node.tag != _TAGS[kind]:
                self.problem(node, f"a YAML tag is used here ({node.tag})", "Remove it; rules are plain data.")
            if kind == "sequence":
                stack.extend(reversed(node.value))
            elif kind == "mapping":
                self._check_keys(node)
                stack.extend(value for _, value in reversed(node.value))
        return len(self.problems) == before

    def _check_keys(self, node: Node) -> None:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.id != "scalar":
                self.problem(key, "a key must be plain text")
            elif key.tag != _TAGS["scalar"]:
                self.problem(key, f"a YAML tag is used here ({key.tag})", "Remove it; rules are plain data.")
            elif key.value in lines:
                self.problem(key, f"key {key.value!r} is given twice", f"It stands in line {lines[key.value]} already.")
            else:
                lines[key.value] = key.start_mark.line + 1

    # -- typed access: None means that a problem was recorded -------------------------------

    def mapping(self, node: Node, what: str) -> dict[str, tuple[Node, Node]] | None:
        """Key to (key node, value node)."""
        if node.id != "mapping":
            self.problem(node, f"{what} must be a mapping (key: value), not {_described(node)}")
            return None
        return {key.value: (key, value) for key, value in node.value}

    def record(
        self, node: Node, what: str, known: Collection[str], required: Collection[str] = ()
    ) -> dict[str, Node] | None:
        """Key to value node, having checked that all keys are known and the required ones there."""
        items = self.mapping(node, what)
        if items is None:
            return None
        for name, (key, _) in items.items():
            if name not in known:
                self.problem(key, f"{what} has no key {name!r}", did_you_mean(name, known) or one_of(known))
        for name in required:
            if name not in items:
                self.problem(node, f"{what} lacks the key {name!r}")
        return {name: value for name, (_, value) in items.items() if name in known}

    def items(self, node: Node, what: str) -> list[Node] | None:
        """The items of a sequence."""
        if node.id != "sequence":
            self.problem(node, f"{what} must be a list, not {_described(node)}")
            return None
        found: list[Node] = node.value
        return found

    def scalar(self, node: Node, what: str) -> tuple[Scalar] | None:
        """The value, in a tuple because null is a value too."""
        if node.id != "scalar":
            self.problem(node, f"{what} must be a single value, not {_described(node)}")
            return None
        return (resolve(node),)

    def text(self, node: Node, what: str) -> str | None:
        """A text that is not empty. A bare number is taken as it is written."""
        found = self.scalar(node, what)
        if found is None:
            return None
        if found[0] is None or found[0] == "" or isinstance(found[0], bool):
            self.problem(
                node, f"{what} must be a text, not {_described(node)}", "Put it in quotes if it is meant as text."
            )
            return None
        value: str = node.value
        return value

    def choice(self, node: Node, what: str, allowed: Collection[str]) -> str | None:
        """One of the ``allowed`` texts."""
        value = self.text(node, what)
        if value is None or value in allowed:
            return value
        self.problem(node, f"{what} cannot be {value!r}", did_you_mean(value, allowed) or one_of(allowed))
        return None

    def boolean(self, node: Node, what: str) -> bool | None:
        """true or false."""
        found = self.scalar(node, what)
        if found is None:
            return None
        if not isinstance(found[0], bool):
            self.problem(node, f"{what} must be true or false, not {node.value!r}")
            return None
        return found[0]

    def number(self, node: Node, what: str) -> float | int | None:
        """An integer or a float."""
        found = self.scalar(node, what)
        if found is None:
            return None
        if isinstance(found[0], bool) or not isinstance(found[0], (int, float)):
            self.problem(node, f"{what} must be a number, not {node.value!r}")
            return None
        return found[0]

    def texts(self, node: Node, what: str) -> list[str]:
        """A list of texts; a single text counts as a list of one."""
        if node.id == "scalar":
            only = self.text(node, what)
            return [only] if only is not None else []
        found = [self.text(item, f"an item of {what}") for item in self.items(node, what) or []]
        return [text for text in found if text is not None]


def _described(node: Node) -> str:
    if node.id == "sequence":
        return "a list"
    if node.id == "mapping":
        return "a mapping"
    value = resolve(node)
    return "nothing" if value is None else f"{node.value!r}"
