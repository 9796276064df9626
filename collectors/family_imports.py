"""The imports of a family's files: what must be installed for it to load."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mlx_diagnose.collectors.source_world import Module, absolute


def imports_of(module: Module) -> Iterator[dict[str, Any]]:
    """Imports of other packages: ``module``, ``file``, ``line``, ``top_level`` (runs at import) and ``guarded``.

    ``guarded`` imports stand in a ``try`` that catches, or under ``if TYPE_CHECKING``.
    """
    yield from _imports(module, module.tree.body, top_level=True, guarded=False)


def _imports(module: Module, body: Sequence[ast.stmt], *, top_level: bool, guarded: bool) -> Iterator[dict[str, Any]]:
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name in _names(module, node):
                yield {
                    "module": name,
                    "file": str(module.file),
                    "line": node.lineno,
                    "top_level": top_level,
                    "guarded": guarded,
                }
            continue
        inside = top_level and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for field, children in ast.iter_fields(node):
            if not isinstance(children, list) or not children:
                continue
            if isinstance(children[0], ast.ExceptHandler):
                children = [statement for handler in children for statement in handler.body]
            if isinstance(children[0], ast.stmt):
                safe = guarded or (isinstance(node, ast.Try) and bool(node.handlers) and field == "body")
                safe = safe or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
                yield from _imports(module, children, top_level=inside, guarded=safe)


def _names(module: Module, node: ast.Import | ast.ImportFrom) -> list[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [absolute(module, node)]
    own = module.name.split(".")[0]
    return [name for name in names if name and name.split(".")[0] not in (own, *sys.stdlib_module_names)]
