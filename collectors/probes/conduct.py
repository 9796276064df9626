"""What the patient's code changed in its process: signal handlers, built-in functions, streams, limits."""

from __future__ import annotations

import builtins
import os
import signal
import sys
from typing import Any, Dict, List

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGABRT", "SIGSEGV", "SIGCHLD", "SIGPIPE")
_BUILTINS = ("open", "print", "exec", "eval", "compile", "input", "exit", "quit", "__import__")
_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_STACK", "RLIMIT_DATA", "RLIMIT_CPU")


def state() -> Dict[str, Any]:
    """What may be changed, by name."""
    found: Dict[str, Any] = {"the current directory": _directory(), "the recursion limit": sys.getrecursionlimit()}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            found["the handler of " + name] = signal.getsignal(number)
    for name in _BUILTINS:
        found["the built-in " + name] = getattr(builtins, name, None)
    for name in ("stdout", "stderr"):
        found["sys." + name] = getattr(sys, name, None)
    try:
        import resource
    except ImportError:
        return found
    for name in _LIMITS:
        number = getattr(resource, name, None)
        if number is not None:
            found["the limit " + name] = resource.getrlimit(number)
    return found


def changes(before: Dict[str, Any]) -> List[str]:
    """Names of what differs from ``before``."""
    now = state()
    return [name for name, value in before.items() if now[name] is not value and not _equal(now[name], value)]


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and type(one) in (int, str, tuple) and bool(one == other)


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
