"""Where something new goes in a module: imports behind the imports, functions before what uses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def with_import(module: Any, statement: str) -> Any:
    """``module`` with the import ``statement`` of the standard library, in its place in the first group of imports.

    A group has its ``import x`` first, then its ``from x import y``, each by name, as isort sorts.
    """
    import libcst as cst

    body = list(module.body)
    wanted: Any = cst.parse_statement(statement)
    if any(isinstance(row, cst.SimpleStatementLine) and row.body[0].deep_equals(wanted.body[0]) for row in body):
        return module
    group = _first_group(body)
    at = next((number for number in group if _key(body[number]) > _key(wanted)), None)
    if at is None:
        at = group[-1] + 1 if group else _behind_docstring(body)
    elif at == group[0]:
        # What stood first keeps the space above it.
        wanted = wanted.with_changes(leading_lines=body[at].leading_lines)
        body[at] = body[at].with_changes(leading_lines=[])
    return module.with_changes(body=[*body[:at], wanted, *body[at:]])


def _first_group(body: Sequence[Any]) -> list[int]:
    """Positions of the imports up to the first empty line between them, ``__future__`` left out."""
    group: list[int] = []
    for number, row in enumerate(body):
        if not _is_import(row) or _imported(row) == "__future__":
            if group:
                break
            continue
        if group and any(line.comment is None for line in row.leading_lines):
            break
        group.append(number)
    return group


def _key(row: Any) -> tuple[bool, str]:
    import libcst as cst

    return isinstance(row.body[0], cst.ImportFrom), _imported(row)


def with_function(module: Any, source: str, before: int) -> Any:
    """``module`` with the function in ``source``, unless one of its name is there, before statement ``before``."""
    import libcst as cst

    function: Any = cst.parse_statement(source)
    name = function.name.value
    body = list(module.body)
    if any(isinstance(row, cst.FunctionDef) and row.name.value == name for row in body):
        return module
    blank = [cst.EmptyLine(indent=False), cst.EmptyLine(indent=False)]
    function = function.with_changes(leading_lines=blank)
    if before < len(body):
        lines = [line for line in body[before].leading_lines if line.comment is not None]
        body[before] = body[before].with_changes(leading_lines=[*blank, *lines])
    return module.with_changes(body=[*body[:before], function, *body[before:]])


def index_of(body: Sequence[Any], statement: Any) -> int:
    """The position of ``statement`` itself."""
    return next(number for number, row in enumerate(body) if row is statement)


def first_definition(body: Sequence[Any]) -> int:
    """The position of the first class or function."""
    import libcst as cst

    return next(
        (number for number, row in enumerate(body) if isinstance(row, (cst.ClassDef, cst.FunctionDef))), len(body)
    )


def _is_import(row: Any) -> bool:
    import libcst as cst

    return isinstance(row, cst.SimpleStatementLine) and isinstance(row.body[0], (cst.Import, cst.ImportFrom))


def _imported(row: Any) -> str:
    """The module that an import names, as it is sorted; relative ones come last."""
    import libcst as cst

    node = row.body[0]
    if isinstance(node, cst.Import):
        return cst.Module([]).code_for_node(node.names[0].name)
    module = cst.Module([]).code_for_node(node.module) if node.module is not None else ""
    return "~" + module if node.relative else module


def _behind_docstring(body: Sequence[Any]) -> int:
    import libcst as cst

    first = body[0] if body else None
    is_text = isinstance(first, cst.SimpleStatementLine) and isinstance(first.body[0], cst.Expr)
    return 1 if is_text else 0
