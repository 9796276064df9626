"""What the code presupposes of one config parameter by another, met while the config is followed.

Asserted (``assert hidden % heads == 0``, ``if a != b: raise``), implied by arithmetic
(``hidden // heads``), or one made from others (``self.head_dim = self.hidden // self.heads``).
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.config_values import Instance, Section, Value, below
from mlx_diagnose.collectors.syntax import children

if TYPE_CHECKING:
    from mlx_diagnose.collectors.function_evaluation import Body


def presupposed(body: Body, test: ast.expr, *, holds: bool) -> None:
    """Note what a test over config values says that must hold, or (``holds`` False) must not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        presupposed(body, test.operand, holds=not holds)
    elif isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And if holds else ast.Or):
        for part in test.values:
            presupposed(body, part, holds=holds)
    elif isinstance(test, ast.BinOp) and not holds:
        _divisible(body, test, test)
    elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq if holds else ast.NotEq):
        left, right = test.left, test.comparators[0]
        if isinstance(right, ast.Constant) and right.value == 0:
            _divisible(body, left, test)
        elif _measured(left) is not None and _measured(right) is not None:
            _note(body, "same-length", body.value(_measured(left)), body.value(_measured(right)), test)
        else:
            _note(body, "equal", body.value(left), body.value(right), test)


def truncated(body: Body, call: ast.Call) -> None:
    """``int(hidden / heads)`` is ``hidden // heads``."""
    if isinstance(call.func, ast.Name) and call.func.id == "int" and len(call.args) == 1:
        inner = call.args[0]
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Div):
            body.flow.depend("divisible", body.value(inner.left), [body.value(inner.right)], call, body.function)


def assigned(body: Body, target: ast.expr, source: ast.expr) -> None:
    """Note that an attribute of a configuration object is made from other parameters."""
    if not isinstance(target, ast.Attribute):
        return
    owner = body.value(target.value)
    if isinstance(owner, Instance) and owner.cls.is_config and owner.section is not None:
        guarded = any(ast.unparse(target) in ast.unparse(test) for test in body.guards)
        _made(body, owner, target.attr, source, guarded)


def returned(body: Body, node: ast.Return) -> None:
    """The same of a property."""
    owner = next(iter(body.env.values()), None)
    is_property = bool({"property", "cached_property"} & body.function.decorators)
    if node.value is not None and is_property and isinstance(owner, Instance) and owner.section is not None:
        _made(body, owner, body.function.node.name, node.value, guarded=False)


def _made(body: Body, owner: Instance, name: str, source: ast.expr, guarded: bool) -> None:
    if owner.section is None or not owner.section.paths or not owner.cls.is_config:
        return
    made = Section(below(owner.section.paths, name))
    others = [value for value in _parameters(body, source) if value.paths != made.paths]
    falls_back = guarded or len(others) < len(_parameters(body, source))
    body.flow.depend("stands-in" if falls_back else "derived", made, others, source, body.function)


def _parameters(body: Body, node: ast.expr) -> list[Section]:
    """The config values that an expression is made of."""
    found: dict[tuple[str, ...], Section] = {}

    def visit(part: ast.AST) -> None:
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            # ``self.name.strip()`` is made of ``self.name``.
            for made_of in (part.func.value, *part.args, *(keyword.value for keyword in part.keywords)):
                visit(made_of)
            return
        if isinstance(part, (ast.Attribute, ast.Name, ast.Subscript)):
            value = body.value(part)
            if isinstance(value, Section) and value.paths and value.paths[0]:
                found.setdefault(value.paths, value)
                return
        for child in children(part):
            visit(child)

    visit(node)
    return list(found.values())


def _divisible(body: Body, node: ast.expr, whole: ast.expr) -> None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        _note(body, "divisible", body.value(node.left), body.value(node.right), whole)


def _measured(node: ast.expr) -> ast.expr | None:
    """What ``len`` is taken of."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len" and node.args:
        return node.args[0]
    return None


def _note(body: Body, relation: str, one: Value, other: Value, node: ast.expr) -> None:
    body.flow.depend(relation, one, [other], node, body.function, asserted=True)
