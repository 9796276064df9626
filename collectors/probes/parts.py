"""Parts of the model that stayed empty: what a ``try`` was to assign when its exception was caught."""

from __future__ import annotations

import ast
import linecache
import os
from typing import Any, Dict, Iterator, List, Tuple

from mlx_diagnose.collectors.probes import statements

_MODEL_CODE = os.sep + "mlx_audio" + os.sep
_MISSING = object()


def left_empty(error: BaseException) -> List[Dict[str, Any]]:
    """``[{"part": "model.tokenizer", "file", "line"}]``: what the guarded lines assign, and is None or not there.

    To be asked after the load, while the frames of ``error`` still hold the objects.
    """
    found: Dict[str, Dict[str, Any]] = {}
    traceback = error.__traceback__
    while traceback is not None:
        frame, line = traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
        if _MODEL_CODE not in frame.f_code.co_filename:
            continue
        code = frame.f_code
        function = statements.function(linecache.getlines(code.co_filename), code.co_firstlineno, code.co_name)
        if function is None:
            continue
        for owner, name in _assigned(function, line):
            held = frame.f_locals.get(owner, _MISSING)
            if held is not _MISSING and _is_empty(held, name):
                part = "%s.%s" % (owner, name)
                found.setdefault(part, {"part": part, "file": code.co_filename, "line": line})
    return list(found.values())


def _assigned(function: Any, line: int) -> Iterator[Tuple[str, str]]:
    """Attributes assigned in the bodies of the ``try`` statements around ``line``."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Try) or not node.handlers:
            continue
        if not node.body[0].lineno <= line < node.handlers[0].lineno:
            continue
        for statement in node.body:
            for inner in ast.walk(statement):
                for target in inner.targets if isinstance(inner, ast.Assign) else []:
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                        yield target.value.id, target.attr


def _is_empty(owner: Any, name: str) -> bool:
    """``owner.name`` is None, or was never set, by the object's own dictionaries."""
    if issubclass(type(owner), dict) and dict.__contains__(owner, name):
        return dict.__getitem__(owner, name) is None
    try:
        return object.__getattribute__(owner, "__dict__").get(name, None) is None
    except BaseException:
        return False
