"""Values of expressions that are constant on their face: literals, arithmetic on them, named constants."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

UNKNOWN: Any = object()

_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def evaluate(node: ast.expr, name: Callable[[str], Any]) -> Any:
    """The value of ``node``, or :data:`UNKNOWN`; ``name`` gives the value of a name, or UNKNOWN.

    Only numbers are computed with, so that no expression grows (``"x" * 10**9``); tuples become lists.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return name(node.id)
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [evaluate(item, name) for item in node.elts]
        return UNKNOWN if UNKNOWN in items else items
    if isinstance(node, ast.Dict):
        keys = [evaluate(key, name) if key is not None else UNKNOWN for key in node.keys]
        values = [evaluate(value, name) for value in node.values]
        if any(not isinstance(key, str) for key in keys) or UNKNOWN in values:
            return UNKNOWN
        return dict(zip(keys, values, strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = evaluate(node.operand, name)
        if not _is_number(value):
            return UNKNOWN
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = evaluate(node.left, name), evaluate(node.right, name)
        if not (_is_number(left) and _is_number(right)):
            return UNKNOWN
        try:
            return _OPERATIONS[type(node.op)](left, right)
        except (ArithmeticError, ValueError):
            return UNKNOWN
    return UNKNOWN


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
