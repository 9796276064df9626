"""What ``Model.sanitize`` returns goes through a helper first, which sees what it was given as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlx_diagnose.adapters.codemods._insertion import first_definition, with_function


def with_checked_result(module: Any, helper: str, arguments: Sequence[str]) -> Any:
    """``module`` with each ``return X`` of ``Model.sanitize`` as ``return HELPER(*arguments, X)``.

    ``helper`` is the source of the function; among ``arguments``, ``given`` is a copy of the weights as
    they were given. The same module where there is nothing to change.
    """
    import libcst as cst

    function: Any = cst.parse_statement(helper)
    name = function.name.value
    body = list(module.body)
    changed = False
    for number, row in enumerate(body):
        if not (isinstance(row, cst.ClassDef) and row.name.value == "Model"):
            continue
        methods = []
        for method in row.body.body:
            if isinstance(method, cst.FunctionDef) and method.name.value == "sanitize" and _takes_weights(method):
                kept = _checked(method, name, arguments)
                if not kept.deep_equals(method):
                    changed = True
                    method = _with_given(kept)
            methods.append(method)
        body[number] = row.with_changes(body=row.body.with_changes(body=methods))
    if not changed:
        return module
    module = module.with_changes(body=body)
    return with_function(module, helper, first_definition(module.body))


def _checked(method: Any, name: str, arguments: Sequence[str]) -> Any:
    import libcst as cst

    class Checked(cst.CSTTransformer):
        def visit_FunctionDef(self, node: Any) -> bool:
            return bool(node.name.value == "sanitize")

        def leave_Return(self, original_node: Any, updated_node: Any) -> Any:
            value = updated_node.value
            if value is None or _calls(value, name):
                return updated_node
            given = [cst.Arg(cst.Name(argument)) for argument in arguments]
            return updated_node.with_changes(value=cst.Call(cst.Name(name), [*given, cst.Arg(value)]))

    return method.visit(Checked())


def _calls(value: Any, name: str) -> bool:
    from libcst import matchers

    return bool(matchers.findall(value, matchers.Call(func=matchers.Name(name))))


def _takes_weights(method: Any) -> bool:
    """A method of self and the weights, not a static one."""
    names = [parameter.name.value for parameter in method.params.params]
    return names[:1] == ["self"] and len(names) == 2


def _with_given(method: Any) -> Any:
    """``given = dict(weights)`` as the first statement behind the docstring: sanitize may change what it is given."""
    import libcst as cst

    weights = method.params.params[1].name.value
    statement: Any = cst.parse_statement(f"given = dict({weights})\n")
    rows = list(method.body.body)
    first = rows[0]
    documented = (
        isinstance(first, cst.SimpleStatementLine)
        and isinstance(first.body[0], cst.Expr)
        and isinstance(first.body[0].value, cst.SimpleString)
    )
    at = 1 if documented else 0
    if any(row.deep_equals(statement) for row in rows[: at + 1]):
        return method
    return method.with_changes(body=method.body.with_changes(body=[*rows[:at], statement, *rows[at:]]))
