"""Names that a module takes from imported modules by attribute: ``mx.compile`` after ``import mlx.core as mx``.

Told as imports are, since a version of the package that lacks the name fails at the same place:
when the module is imported (decorators, base classes, defaults, constants), or when the function
is called. A name that the module also asks for in a string (``hasattr(mx, "name")``) is guarded.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from mlx_diagnose.collectors.family_imports import Import
from mlx_diagnose.collectors.source_world import Module
from mlx_diagnose.collectors.syntax import children, walk

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def attribute_uses(module: Module, statements: Sequence[Import], *, inside_functions: bool) -> Iterator[Import]:
    """Each name once, where it is first needed; ``statements`` are the module's imports.

    Without ``inside_functions`` only what runs when the module is imported.
    """
    aliases = dict(_aliases(module, statements))
    if not aliases:
        return
    uses: dict[tuple[str, str, bool], Import] = {}
    for node, function in _attributes(module.tree, inside_functions):
        source = aliases.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if source is not None:
            use = Import(source, node.attr, module, node.lineno, function, False)
            uses.setdefault((source, node.attr, function is None), use)
    asked = _asked_for(module, {use.name for use in uses.values()})
    for use in uses.values():
        yield replace(use, guarded=True) if use.name in asked else use


def _asked_for(module: Module, names: Collection[str | None]) -> set[str]:
    """Those of ``names`` that the module has in strings, where it asks for attributes at all."""
    try:
        text = module.file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return set()
    if "hasattr(" not in text and "getattr(" not in text:
        return set()
    if not any(f'"{name}"' in text or f"'{name}'" in text for name in names):
        return set()  # going through the tree takes ten times as long
    constants = (node.value for node in walk(module.tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value in names}


def _aliases(module: Module, statements: Sequence[Import]) -> Iterator[tuple[str, str]]:
    """Top-level names that stand for a module for certain: ``import a.b as c``, ``import a``."""
    plain = {s.module for s in statements if s.function is None and not s.guarded and s.name is None}
    for name, (node, alias) in module.names.items():
        known = isinstance(node, ast.Import) and alias is not None and alias.name in plain
        if known and alias is not None and (alias.asname or "." not in alias.name):
            yield name, alias.name


def _attributes(tree: ast.AST, inside: bool) -> list[tuple[ast.Attribute, str | None]]:
    """Attribute expressions in ``tree`` with the outermost function in whose body they stand.

    What is assigned to or deleted is not taken from the module. Blocks that may not run are left out.
    """
    found: list[tuple[ast.Attribute, str | None]] = []

    def visit(node: ast.AST, function: str | None) -> None:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.append((node, function))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in (*node.decorator_list, node.args):
                visit(part, function)
            for statement in node.body if inside else ():
                visit(statement, function or node.name)
        else:
            for child in _running(node):
                visit(child, function)

    visit(tree, None)
    return found


def _running(node: ast.AST) -> Iterable[ast.AST]:
    """The nodes right below ``node`` that run for certain when it does."""
    if isinstance(node, (ast.Lambda, ast.arg)):
        return ()
    if isinstance(node, ast.Try):
        return node.finalbody
    if isinstance(node, (ast.If, ast.IfExp)):
        return (node.test,)
    if isinstance(node, ast.AnnAssign):
        return (node.value,) if node.value is not None else ()
    return children(node)
