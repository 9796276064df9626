"""The syntax around a line: its statement, its conditions, what assigned a name, what a call was given."""

from __future__ import annotations

import ast
from typing import Any, Iterator, List, Optional, Sequence, Tuple

_BLOCKS = (ast.If, ast.While, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith, ast.Try)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def function(lines: Sequence[str], first_line: int, name: str) -> Optional[Any]:
    """The definition of the function ``name`` whose first line (of its decorators) is ``first_line``."""
    if not lines:
        return None
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS) and node.name == name:
            begins = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if begins == first_line:
                return node
    return None


def at(owner: Any, line: int) -> Optional[ast.stmt]:
    """The innermost statement of a function that ``line`` belongs to."""
    best = None
    for node in ast.walk(owner):
        if isinstance(node, ast.stmt) and node is not owner and node.lineno <= line <= _end(node):
            best = node if best is None or node.lineno >= best.lineno else best
    return best


def _end(node: ast.AST) -> int:
    end = getattr(node, "end_lineno", None)
    return int(end) if end is not None else int(getattr(node, "lineno", 0))


def read_by(statement: ast.stmt, code: Any, lasti: int, line: int) -> List[ast.AST]:
    """The expressions that the failing instruction reads: exactly (Python 3.11), or those of the statement."""
    exact = _at_instruction(statement, code, lasti)
    if exact is not None:
        return [exact]
    if isinstance(statement, (ast.If, ast.While)):
        return [statement.test]
    if isinstance(statement, (ast.For, ast.AsyncFor)):
        return [statement.iter]
    if isinstance(statement, (ast.With, ast.AsyncWith)):
        return [item.context_expr for item in statement.items]
    if isinstance(statement, _BLOCKS):
        return []
    value = getattr(statement, "value", None)
    return [value] if value is not None else [statement]


def _at_instruction(statement: ast.stmt, code: Any, lasti: int) -> Optional[ast.AST]:
    positions = getattr(code, "co_positions", None)
    if positions is None or lasti < 0:
        return None
    for number, place in enumerate(positions()):
        if number == lasti // 2:
            for node in ast.walk(statement):
                if isinstance(node, ast.expr) and _place(node) == place:
                    return node
            return None
    return None


def _place(node: Any) -> Tuple[Any, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def conditions(owner: Any, statement: ast.stmt) -> List[ast.AST]:
    """The tests of the ``if`` statements around ``statement``."""
    found: List[ast.AST] = [
        node.test
        for node in ast.walk(owner)
        if isinstance(node, ast.If) and node.lineno <= statement.lineno and _end(statement) <= _end(node)
    ]
    return [*found, statement.test] if isinstance(statement, ast.Assert) else found


def assignments(owner: Any, chain: Tuple[str, ...], line: int) -> List[ast.AST]:
    """What was assigned to the name or dotted name ``chain`` before ``line``."""
    found: List[ast.AST] = []
    for node in ast.walk(owner):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            targets, value = [node.target], node.value
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            targets, value = [node.target], node.iter
        else:
            continue
        if node.lineno <= line and any(chain == written for target in targets for written in _written(target)):
            found.append(value)
    return found


def _written(target: ast.AST) -> Iterator[Tuple[str, ...]]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            yield from _written(item)
    elif isinstance(target, ast.Name):
        yield (target.id,)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        yield (target.value.id, target.attr)


def argument(statement: Optional[ast.stmt], callee: Any, name: str, caller: Any, lasti: int) -> Optional[ast.AST]:
    """What the call of ``callee`` (a code object) in ``statement`` gives for the parameter ``name``."""
    if statement is None:
        return None
    exact = _at_instruction(statement, caller, lasti)
    calls = [exact] if isinstance(exact, ast.Call) else _calls_of(callee, statement)
    parameters = callee.co_varnames[: callee.co_argcount]
    bound = bool(parameters) and parameters[0] in ("self", "cls")
    position = parameters.index(name) - bound if name in parameters else None
    for call in calls:
        for keyword in call.keywords:
            if keyword.arg == name:
                return keyword.value
        if position is not None and 0 <= position < len(call.args):
            given = call.args[: position + 1]
            if not any(isinstance(item, ast.Starred) for item in given):
                found: ast.AST = given[position]
                return found
    return None


def given(statement: Optional[ast.stmt], class_name: str, name: str, position: Optional[int]) -> Optional[ast.AST]:
    """What the call of a class in ``statement`` gives for its parameter ``name``, the ``position``-th.

    The class may be imported by another name; then a call that could be its is taken.
    """
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)] if statement is not None else []
    calls.sort(key=lambda node: getattr(node.func, "attr", getattr(node.func, "id", "")) != class_name)
    for call in calls:
        for keyword in call.keywords:
            if keyword.arg == name:
                return keyword.value
    for call in calls:
        called = getattr(call.func, "attr", getattr(call.func, "id", ""))
        plain = not any(isinstance(item, ast.Starred) for item in call.args)
        if called.endswith(class_name[-4:]) and plain and position is not None and position < len(call.args):
            found: ast.AST = call.args[position]
            return found
    return None


def _calls_of(callee: Any, statement: ast.stmt) -> List[ast.Call]:
    """Calls in ``statement`` that may be those of ``callee``; an initialiser is called by its class's name."""
    found = []
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == callee.co_name or (callee.co_name == "__init__" and name[:1].isupper()):
                found.append(node)
    return found
