"""Loader shims as they are sent: changes of mlx-audio in this process, undone after the load or kept."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Dict


def applied(request: Dict[str, Any], failed: Callable[[str, str], None]) -> ExitStack:
    """Install the ``shims`` of a request, pairs of name and source; leaving the context undoes them.

    With ``keep`` they stay. One that does not fit this mlx-audio is told to ``failed`` and left out.
    """
    stack = ExitStack()
    for name, source in request.get("shims") or ():
        space: Dict[str, Any] = {"__name__": "diagnose_shim"}
        try:
            exec(compile(source, "<diagnose>/shims/%s.py" % name, "exec"), space)
            undo = space["install"]()
        except Exception as error:
            failed("shim " + name, "%s: %s" % (type(error).__name__, error))
        else:
            if not request.get("keep"):
                stack.callback(undo)
    return stack
