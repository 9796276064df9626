"""Values of expressions that are constant on their face: literals, arithmetic on them, named constants."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

UNKNOWN: Any = object()

_MAX_ITEMS = 10_000
_MAX_POWER = 1_000

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

    Numbers are computed with, and lists put together as far as they stay short (``"x" * 10**9`` does
    not); tuples become lists, keys of dicts text, as in JSON.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return name(node.id)
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [evaluate(item, name) for item in node.elts]
        return UNKNOWN if any(item is UNKNOWN for item in items) else items
    if isinstance(node, ast.Dict):
        keys = [evaluate(key, name) if key is not None else UNKNOWN for key in node.keys]
        values = [evaluate(value, name) for value in node.values]
        if any(type(key) not in (str, int) for key in keys) or any(value is UNKNOWN for value in values):
            return UNKNOWN
        return {str(key): value for key, value in zip(keys, values, strict=True)}
    if isinstance(node, ast.Call):
        return _called(node, name)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = evaluate(node.operand, name)
        if not _is_number(value):
            return UNKNOWN
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and (type(node.op) in _OPERATIONS or isinstance(node.op, ast.Pow)):
        left, right = evaluate(node.left, name), evaluate(node.right, name)
        if isinstance(left, list) or isinstance(right, list):
            return _joined(node.op, left, right)
        if not (_is_number(left) and _is_number(right)):
            return UNKNOWN
        if isinstance(node.op, ast.Pow):
            return left**right if abs(right) <= _MAX_POWER and (left > 0 or (type(right) is int and left)) else UNKNOWN
        try:
            return _OPERATIONS[type(node.op)](left, right)
        except (ArithmeticError, ValueError):
            return UNKNOWN
    return UNKNOWN


def _joined(operation: ast.operator, left: Any, right: Any) -> Any:
    """``[a] * n`` and ``[a] + [b]``."""
    if isinstance(operation, ast.Add) and isinstance(left, list) and isinstance(right, list):
        return [*left, *right] if len(left) + len(right) <= _MAX_ITEMS else UNKNOWN
    items, times = (left, right) if isinstance(left, list) else (right, left)
    if isinstance(operation, ast.Mult) and type(times) is int and len(items) * times <= _MAX_ITEMS:
        return items * times
    return UNKNOWN


def _called(node: ast.Call, name: Callable[[str], Any]) -> Any:
    """``list(range(4))``, ``tuple([1, 2])``."""
    if not isinstance(node.func, ast.Name) or node.keywords:
        return UNKNOWN
    arguments = [evaluate(argument, name) for argument in node.args]
    if node.func.id == "range" and 1 <= len(arguments) <= 3 and all(type(argument) is int for argument in arguments):
        if len(arguments) == 3 and arguments[2] == 0:
            return UNKNOWN
        numbers = range(*arguments)
        return list(numbers) if len(numbers) <= _MAX_ITEMS else UNKNOWN
    if node.func.id in ("list", "tuple") and len(arguments) <= 1:
        made = arguments[0] if arguments else []
        return list(made) if isinstance(made, list) else UNKNOWN
    return UNKNOWN


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
