"""Which config values reached the expression that raised.

Walks back from the failing line through the live frames of the traceback: the names that it reads,
the assignments that made them, the arguments that callers gave. Attributes are read from the
objects' own dictionaries; no property and no other code of the patient is run.
"""

from __future__ import annotations

import ast
import linecache
import re
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from mlx_diagnose.collectors.probes import statements
from mlx_diagnose.collectors.probes.arguments import text, type_name
from mlx_diagnose.collectors.probes.origins import NAME, Origins

MAX_VALUES = 20
_MAX_DEPTH = 8
_OWN = "<diagnose>/"
_MISSING = object()
#: Python code of these packages is read; in others the config is out of sight.
_READ = re.compile(r"[/\\](?:mlx_audio|mlx_lm|mlx_vlm|mlx)[/\\]")


class _Frame:
    """A frame of the traceback with the function's source, where it can be read."""

    def __init__(self, code: Any, names: Dict[str, Any], line: int, lasti: int) -> None:
        self.code, self.names, self.line, self.lasti = code, names, line, lasti
        readable = _READ.search(code.co_filename) is not None
        lines = linecache.getlines(code.co_filename) if readable else []
        self.function = statements.function(lines, code.co_firstlineno, code.co_name)
        self.statement = statements.at(self.function, line) if self.function is not None else None


def values(error: BaseException, origins: Optional[Origins]) -> List[Dict[str, Any]]:
    """``[{"expression", "value", "type", "origin", "path", "certain", "function", "file", "line"}]``.

    ``origin`` is config or default; the place is that where the config is read.
    """
    if origins is None:
        return []
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(_OWN):
            frame = traceback.tb_frame
            frames.append(_Frame(frame.f_code, frame.f_locals, traceback.tb_lineno, traceback.tb_lasti))
        traceback = traceback.tb_next
    while frames and frames[-1].statement is None:
        # What a compiled or foreign function was given stands in the line that called it.
        frames.pop()
    if not frames:
        return []
    walk = _Walk(frames, origins)
    last = len(frames) - 1
    statement = frames[last].statement
    assert statement is not None
    for node in statements.read_by(statement, frames[last].code, frames[last].lasti, frames[last].line):
        walk.follow(last, node, 0)
    if isinstance(statement, (ast.Raise, ast.Assert)) and frames[last].function is not None:
        for test in statements.conditions(frames[last].function, statement):
            walk.follow(last, test, 0)
    return list(walk.found.values())[:MAX_VALUES]


class _Walk:
    def __init__(self, frames: List[_Frame], origins: Origins) -> None:
        self._frames, self._origins = frames, origins
        self._seen: Set[Tuple[int, str]] = set()
        self.found: Dict[str, Dict[str, Any]] = {}

    def follow(self, index: int, node: ast.AST, depth: int) -> None:
        """Everything that the expression ``node`` of frame ``index`` reads."""
        for chain in _chains(node):
            self._chain(index, chain, depth)

    def _chain(self, index: int, chain: Tuple[str, ...], depth: int) -> None:
        seen = (index, ".".join(chain))
        if seen in self._seen or depth > _MAX_DEPTH:
            return
        self._seen.add(seen)
        frame = self._frames[index]
        value = frame.names.get(chain[0], _MISSING)
        for position, name in enumerate(chain[1:], 1):
            reached = _reach(value, chain[position:])
            if not _is_object(reached):
                key = self._origins.key_of(value, name)
                if key is not None:
                    self._note(index, chain, reached, ".".join([key, *chain[position + 1 :]]), True)
                    return
                if self._given(value, name, depth):
                    return
            value = _held(value, name)
        if value is _MISSING:
            self._made(index, chain, depth)
            return
        exact = self._origins.exact(value)
        if exact is not None and type(value) not in (dict, list):
            self._note(index, chain, value, exact, True)
            return
        if self._made(index, chain, depth):
            return
        named = self._origins.by_name(value, chain[-1]) if not _is_object(value) else None
        if named is not None:
            self._note(index, chain, value, named[0], named[1] == NAME and chain[0] != "self")

    def _given(self, owner: Any, name: str, depth: int) -> bool:
        """Follow what the line that made the config object ``owner`` gave for ``name``."""
        made = self._origins.maker_of(owner)
        if made is None or made.code is None:
            return False
        maker = _Frame(made.code, made.names, made.line, -1)
        position = list(made.given).index(name) if name in made.given else None
        given = statements.given(maker.statement, type_name(owner), name, position)
        if given is None:
            return False
        self._frames.append(maker)
        self.follow(len(self._frames) - 1, given, depth + 1)
        return True

    def _made(self, index: int, chain: Tuple[str, ...], depth: int) -> bool:
        """Follow what made the value: an assignment before the line, or the caller's argument."""
        frame = self._frames[index]
        before = statements.assignments(frame.function, chain, frame.line) if frame.function is not None else []
        for made in before:
            self.follow(index, made, depth + 1)
        if before or len(chain) != 1 or chain[0] not in frame.code.co_varnames[: _arguments(frame.code)]:
            return bool(before)
        if index == 0 or frame.lasti < 0 or self._frames[index - 1].statement is None:
            return False
        caller = self._frames[index - 1]
        given = statements.argument(caller.statement, frame.code, chain[0], caller.code, caller.lasti)
        if given is None:
            return False
        self.follow(index - 1, given, depth + 1)
        return True

    def _note(self, index: int, chain: Tuple[str, ...], value: Any, path: str, certain: bool) -> None:
        frame = self._frames[index]
        known = self.found.get(path)
        if known is not None and (known["certain"] or not certain):
            return
        if _is_object(value):
            return
        self.found[path] = {
            "expression": ".".join(chain),
            "value": text(value) if value is not _MISSING else None,
            "type": type_name(value),
            "origin": "config" if self._origins.has(path) else "default",
            "path": path,
            "certain": certain,
            "function": getattr(frame.code, "co_qualname", frame.code.co_name),
            "file": frame.code.co_filename,
            "line": frame.line,
        }


def _arguments(code: Any) -> int:
    return int(code.co_argcount + code.co_kwonlyargcount)


def _chains(node: ast.AST) -> Iterator[Tuple[str, ...]]:
    """Names and dotted names that ``node`` reads; ``d["key"]`` and ``d.get("key")`` count as ``d.key``."""
    stack = [node]
    while stack:
        current = stack.pop()
        chain = _chain_of(current)
        if chain is not None:
            yield chain
            continue
        if isinstance(current, ast.Call):
            # The function itself is no value.
            owner = current.func.value if isinstance(current.func, ast.Attribute) else None
            stack.extend([*current.args, *(keyword.value for keyword in current.keywords)])
            if owner is not None and _chain_of(owner) is None:
                stack.append(owner)
            continue
        stack.extend(ast.iter_child_nodes(current))


def _chain_of(node: ast.AST) -> Optional[Tuple[str, ...]]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        base = _chain_of(node.value)
        return (*base, node.attr) if base is not None else None
    if isinstance(node, ast.Subscript):
        key = node.slice
        key = getattr(key, "value", key) if type(key).__name__ == "Index" else key  # Python 3.8
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            base = _chain_of(node.value)
            return (*base, key.value) if base is not None else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        asked = node.args[0]
        if isinstance(asked, ast.Constant) and isinstance(asked.value, str):
            base = _chain_of(node.func.value)
            return (*base, asked.value) if base is not None else None
    return None


def _held(owner: Any, name: str) -> Any:
    """``owner.name`` or ``owner["name"]`` as it is stored, without running a property."""
    if owner is _MISSING:
        return _MISSING
    try:
        held = object.__getattribute__(owner, "__dict__")
        if name in held:
            return held[name]
    except Exception:
        pass
    if issubclass(type(owner), dict) and dict.__contains__(owner, name):
        return dict.__getitem__(owner, name)
    for base in type(owner).__mro__:
        # A default of a dataclass stands in the class.
        if name in vars(base):
            found = vars(base)[name]
            return _MISSING if hasattr(type(found), "__get__") else found
    return _MISSING


def _reach(owner: Any, names: Sequence[str]) -> Any:
    for name in names:
        owner = _held(owner, name)
    return owner


def _is_object(value: Any) -> bool:
    return value is not _MISSING and type(value) not in (str, int, float, bool, list, tuple, type(None))
