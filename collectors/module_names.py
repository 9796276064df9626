"""Whether a module of the patient's environment has a name, by its source or its stub; nothing is run.

The answer may be "cannot tell": for a module that makes its names as it runs (a ``__getattr__``,
transformers' lazy modules, ``globals().update``, ``exec``), or that has no source to read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlx_diagnose.collectors.family_imports import imports_of
from mlx_diagnose.collectors.installed_modules import InstalledModules, Place
from mlx_diagnose.collectors.source_world import Module
from mlx_diagnose.collectors.syntax import parse, walk

#: Marks of a module whose names its source does not show.
_DYNAMIC = (
    "sys.modules[__name__]",
    "sys.modules[",
    "globals()",
    "vars()[",
    "exec(",
    "setattr(sys.",
    "_LazyModule",
    "lazy.attach",
    "attach_stub",
)
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class _Names:
    """Names that a module binds at its top level; ``stars`` the modules that it takes everything from."""

    bound: frozenset[str]
    stars: tuple[str, ...]


class ModuleNames:
    """The names of modules, read when asked for."""

    def __init__(self, modules: InstalledModules) -> None:
        self._modules = modules
        self._read: dict[str, _Names | None] = {}

    def has(self, module: str, name: str, depth: int = 0) -> bool | None:
        """Whether ``from module import name`` finds something; None where that cannot be told."""
        place = self._modules.find(module)
        if place is None or depth > _MAX_DEPTH:
            return None
        if place.is_package and self._modules.find(f"{module}.{name}") is not None:
            return True
        names = self._names(module, place)
        if names is None:
            return None
        if name in names.bound or (name.startswith("__") and name.endswith("__")):
            return True
        answers = [self.has(star, name, depth + 1) for star in names.stars]
        if True in answers:
            return True
        return None if None in answers else False

    def _names(self, module: str, place: Place) -> _Names | None:
        if module not in self._read:
            self._read[module] = _read(module, place)
        return self._read[module]


def _read(module: str, place: Place) -> _Names | None:
    if place.file is None:
        return None
    try:
        if place.file.stat().st_size > _MAX_BYTES:
            return None
        text = place.file.read_text(encoding="utf-8")
        if any(mark in text for mark in _DYNAMIC):
            return None
        source = Module(module, place.file, place.is_package, parse(text))
        bound = frozenset(_bound(source.tree.body))
        stars = tuple(dict.fromkeys(i.module for i in imports_of(source) if i.name == "*" and i.function is None))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return None if "__getattr__" in bound else _Names(bound, stars)


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that statements bind, those in compound statements included and those in functions not."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0]
            if isinstance(node, ast.ImportFrom) and node.level:
                # ``from .sub import x`` binds the submodule in its package as well.
                yield (node.module or "").split(".")[0]
        else:
            for part in walk(node):
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                    yield part.id
                elif isinstance(part, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield part.name
                elif isinstance(part, (ast.Import, ast.ImportFrom)):
                    yield from (alias.asname or alias.name.split(".")[0] for alias in part.names)
                elif isinstance(part, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and part.name:
                    yield part.name
