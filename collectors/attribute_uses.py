"""Names that a module takes from imported modules by attribute: ``mx.compile`` after ``import mlx.core as mx``.

Told as imports are, since a version of the package that lacks the name fails at the same place:
when the module is imported (decorators, base classes, defaults, constants), or when the function
is called. A name that the module also asks for in a string (``hasattr(mx, "name")``) is guarded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from mlx_diagnose.collectors.family_imports import Import
from mlx_diagnose.collectors.source_world import Module

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def attribute_uses(module: Module, statements: Sequence[Import], *, inside_functions: bool) -> Iterator[Import]:
    """Each name once, where it is first needed; ``statements`` are the module's imports.

    Without ``inside_functions`` only what runs when the module is imported.
    """
    aliases = dict(_aliases(module, statements))
    if not aliases:
        return
    asked = _asked_for(module)
    seen: set[tuple[str, str, bool]] = set()
    for node, function in _attributes(module.tree, None, inside_functions):
        source = aliases.get(node.value.id) if isinstance(node.value, ast.Name) else None
        key = (source or "", node.attr, function is None)
        if source is not None and key not in seen:
            seen.add(key)
            yield Import(source, node.attr, module, node.lineno, function, node.attr in asked)


def _asked_for(module: Module) -> set[str]:
    """Names that the module has in strings, where it asks for attributes at all."""
    try:
        text = module.file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return set()
    if "hasattr(" not in text and "getattr(" not in text:
        return set()
    constants = (node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value.isidentifier()}


def _aliases(module: Module, statements: Sequence[Import]) -> Iterator[tuple[str, str]]:
    """Top-level names that stand for a module for certain: ``import a.b as c``, ``import a``."""
    plain = {s.module for s in statements if s.function is None and not s.guarded and s.name is None}
    for name, (node, alias) in module.names.items():
        known = isinstance(node, ast.Import) and alias is not None and alias.name in plain
        if known and alias is not None and (alias.asname or "." not in alias.name):
            yield name, alias.name


def _attributes(node: ast.AST, function: str | None, inside: bool) -> Iterator[tuple[ast.Attribute, str | None]]:
    """Attribute expressions under ``node`` with the outermost function in whose body they stand.

    What is assigned to or deleted is not taken from the module. Blocks that may not run are left out.
    """
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node, function
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for part in (*node.decorator_list, node.args):
            yield from _attributes(part, function, inside)
        if inside:
            for statement in node.body:
                yield from _attributes(statement, function or node.name, inside)
        return
    if isinstance(node, ast.Lambda):
        return
    children: Iterator[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.Try):
        children = iter(node.finalbody)
    elif isinstance(node, (ast.If, ast.IfExp)):
        children = iter([node.test])
    elif isinstance(node, ast.AnnAssign):
        children = iter([node.value] if node.value is not None else [])
    elif isinstance(node, ast.arg):
        return
    for child in children:
        yield from _attributes(child, function, inside)
