"""Syntax trees of Python sources: read once, and walked in a quarter of the time that :func:`ast.walk` takes."""

from __future__ import annotations

import ast
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

#: Fields that hold names, numbers, contexts and operators: nothing below them is looked for.
_LEAVES = frozenset(
    {"ctx", "op", "ops", "id", "attr", "arg", "module", "level", "asname", "kind", "type_comment", "conversion"}
)
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}

# CPython before 3.11.8 and 3.12.2 counts the depth of the tree that it makes once for all threads, and a
# collection of garbage may let another thread in: both then raise "SystemError: AST constructor recursion
# depth mismatch" (https://github.com/python/cpython/issues/106905).
_ONE_AT_A_TIME = threading.Lock()


def parse(source: str | bytes, file: str = "<unknown>") -> ast.Module:
    """The tree of a module's ``source``; ``file`` is named in what is raised.

    Raises what ``ast.parse`` raises: SyntaxError, ValueError for null bytes and unknown encodings,
    RecursionError and MemoryError for what is nested too deep.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source, file)


def parse_expression(source: str) -> ast.expr:
    """The tree of one expression. Raises as :func:`parse` does."""
    with _ONE_AT_A_TIME:
        return ast.parse(source, mode="eval").body


def syntax_tree(file: Path) -> ast.Module:
    """The syntax tree of ``file``, read once. Raises OSError, SyntaxError, ValueError, RecursionError."""
    known = file.stat()
    return _tree(str(file), known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=400)
def _tree(file: str, changed: int, size: int) -> ast.Module:
    """The syntax tree of ``file`` as it was ``changed``; several collectors read the same family."""
    return parse(Path(file).read_bytes(), file)


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below ``node``, in order, without contexts and operators."""
    kind = type(node)
    fields = _FIELDS.get(kind)
    if fields is None:
        fields = _FIELDS[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    found: list[ast.AST] = []
    for name in fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """``node`` and all nodes below it, in the order of :func:`ast.walk`, without contexts and operators."""
    found = [node]
    for inner in found:
        found += children(inner)
    return found


@contextmanager
def without_collection() -> Iterator[None]:
    """Parse without Python's cycle collector: it would walk the growing trees again and again, at twice the cost."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def called_name(node: ast.Call) -> str:
    """The last part of the name that is called; empty where what is called has none."""
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
