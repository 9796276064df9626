"""Which functions of a family's own files run when a loaded model is used, and what they import by a name in a string.

By names alone: a function counts as called where its name is mentioned. Too many rather than
too few, but what only converters and scripts call is left out.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from mlx_diagnose.collectors.family_imports import Import, catches
from mlx_diagnose.collectors.source_world import Module
from mlx_diagnose.collectors.syntax import walk

#: What the loader and a user call on a model.
_ENTRIES = ("__init__", "__call__", "generate", "sanitize", "post_load_hook", "from_pretrained", "load_weights")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_in_use(modules: Iterable[Module]) -> frozenset[str]:
    """Names of functions and methods that loading a model and generating with it may call."""
    mentions: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for owner, function in _functions(module.tree.body, None):
            names = _mentioned(function)
            mentions[function.name] |= names
            if owner is not None:
                # Who mentions a class makes one; what its other methods do counts when they are mentioned.
                mentions[owner].add("__init__")
                mentions[owner].add("__call__")
    queue = [name for name in _ENTRIES if name in mentions]
    reached = set(queue)
    while queue:
        fresh = {name for name in mentions[queue.pop()] if name in mentions} - reached
        reached |= fresh
        queue += fresh
    return frozenset(reached)


def named_in_strings(module: Module) -> Iterator[Import]:
    """Imports by ``import_module("x.y")``, also through a function of the module that hands its first parameter on."""
    functions = [function for _, function in _functions(module.tree.body, None)]
    helpers = {function.name: guarded for function in functions if (guarded := _hands_on(function)) is not None}
    for function in functions:
        for call, name, text in _calls(function):
            if text and not text.startswith(".") and (_imports(name) or name in helpers):
                guarded = helpers[name] if name in helpers else _caught_in(function, call)
                yield Import(text, None, module, call.lineno, function.name, guarded)


def _calls(function: _Function) -> Iterator[tuple[ast.Call, str, str | None]]:
    """Calls in ``function``: the name called, and the first argument where it is a literal text."""
    for call in walk(function):
        if isinstance(call, ast.Call) and call.args:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            first = call.args[0]
            text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
            yield call, name, text


def _functions(body: Iterable[ast.stmt], owner: str | None) -> Iterator[tuple[str | None, _Function]]:
    """Functions and methods with the class they are of; nested ones belong to the outermost."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield owner, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, node.name)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _functions(node.body, owner)
            yield from _functions(node.orelse, owner)


def _mentioned(function: _Function) -> set[str]:
    """Names in a function, without those that it imports itself: they are functions of other modules."""
    names: set[str] = set()
    imported: set[str] = set()
    for node in walk(function):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            imported.update(alias.asname or alias.name for alias in node.names)
    return names - imported


def _imports(name: str) -> bool:
    return name in ("import_module", "__import__")


def _hands_on(function: _Function) -> bool | None:
    """Whether a failure is caught in a function that imports what its first parameter names; None if it does not."""
    parameters = [*function.args.posonlyargs, *function.args.args]
    if not parameters:
        return None
    for call, name, _ in _calls(function):
        if _imports(name) and getattr(call.args[0], "id", None) == parameters[0].arg:
            return _caught_in(function, call)
    return None


def _caught_in(function: _Function, call: ast.Call) -> bool:
    """Whether ``call`` stands in a ``try`` of ``function`` whose handlers end the failure."""
    return any(
        isinstance(node, ast.Try)
        and any(catches(handler) for handler in node.handlers)
        and any(inner is call for part in node.body for inner in walk(part))
        for node in walk(function)
    )
