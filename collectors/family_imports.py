"""The imports that stand in a module: what must be there for it to be imported, or for a function of it to run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlx_diagnose.collectors.source_world import Module, absolute

#: Exceptions whose handlers catch a failed import.
_CATCHING = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


@dataclass(frozen=True, slots=True)
class Import:
    """An import statement, one name of it at a time.

    ``module`` is absolute; ``name`` what is taken ``from`` it, None for a plain import, ``*`` for
    all. ``function`` is the outermost function it stands in, None where it runs when the module
    is imported. ``guarded``: a failure is caught, or the statement runs only under a condition.
    """

    module: str
    name: str | None
    importer: Module
    line: int
    function: str | None
    guarded: bool


@dataclass(frozen=True, slots=True)
class _Place:
    function: str | None = None
    guarded: bool = False


def imports_of(module: Module) -> Iterator[Import]:
    """Every import of ``module``, in the order of its lines; those under ``if TYPE_CHECKING`` never run."""
    yield from _imports(module, module.tree.body, _Place())


def _imports(module: Module, body: Sequence[ast.stmt], place: _Place) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, module, node.lineno, place.function, place.guarded)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            for alias in node.names:
                yield Import(source, alias.name, module, node.lineno, place.function, place.guarded)
        else:
            for inner, where in _blocks(node, place):
                yield from _imports(module, inner, where)


def _blocks(node: ast.stmt, place: _Place) -> Iterator[tuple[Sequence[ast.stmt], _Place]]:
    """The blocks of a compound statement, and where an import in them stands."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        # What guards the definition does not guard the call.
        yield node.body, _Place(place.function or node.name)
    elif isinstance(node, ast.Try):
        caught = place.guarded or any(catches(handler) for handler in node.handlers)
        yield node.body, _Place(place.function, caught)
        for handler in node.handlers:
            yield handler.body, _Place(place.function, True)
        yield node.orelse, place
        yield node.finalbody, place
    elif isinstance(node, ast.If):
        conditional = _Place(place.function, True)
        if not _type_checking(node.test):
            yield node.body, conditional
        yield node.orelse, conditional
    else:
        for name in ("body", "orelse"):
            inner = getattr(node, name, None)
            if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                yield inner, place
        for case in getattr(node, "cases", ()):
            yield case.body, _Place(place.function, True)


def _type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def catches(handler: ast.ExceptHandler) -> bool:
    """Whether a failed import ends in ``handler`` and does not leave it again as an exception."""
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    named = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None) for node in types if node}
    return (handler.type is None or bool(named & _CATCHING)) and not isinstance(handler.body[-1], ast.Raise)
