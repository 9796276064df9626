"""What the patient's code changed in its process: signal handlers, functions that all code uses, streams, limits."""

from __future__ import annotations

import builtins
import importlib
import inspect
import io
import json
import linecache
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from types import FunctionType
from typing import Any, Dict, List, Tuple

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGABRT", "SIGSEGV", "SIGCHLD", "SIGPIPE")
_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_STACK", "RLIMIT_DATA", "RLIMIT_CPU")
#: Owners of functions that everybody's code uses, this probe's too, and how they are called in a report.
_OWNERS: Tuple[Tuple[Any, str], ...] = (
    (builtins, "the built-in "),
    (sys, "sys."),
    (os, "the function os."),
    (os.path, "the function os.path."),
    (pathlib.Path, "the function pathlib.Path."),
    *((module, "the function %s." % module.__name__) for module in (io, time, json, signal, traceback, linecache)),
    *((module, "the function %s." % module.__name__) for module in (inspect, importlib, threading)),
)
_OWN = "<diagnose>/"

# As they were before the patient's code could replace them.
_handler, _recursion_limit, _cwd = signal.getsignal, sys.getrecursionlimit, os.getcwd


class Conduct:
    """What there was when it was made. ``changes`` tells what differs; ``undone`` puts functions back for a while."""

    def __init__(self) -> None:
        self._state = _state()
        self._functions = [
            (owner, name, value, label + name)
            for owner, label in _OWNERS
            for name, value in vars(owner).items()
            if callable(value) or isinstance(value, (classmethod, staticmethod))
        ]

    def changes(self) -> List[Dict[str, Any]]:
        """``[{"what", "function", "file", "line"}]``; the latter are those of a function that replaced another."""
        now = _state()
        found: List[Dict[str, Any]] = [
            {"what": name, "function": None, "file": None, "line": None}
            for name, value in self._state.items()
            if now[name] is not value and not _equal(now[name], value)
        ]
        for _, _, _, label, value in self._replaced():
            code = value.__code__ if type(value) is FunctionType else None
            found.append(
                {
                    "what": label,
                    "function": getattr(code, "co_qualname", getattr(code, "co_name", None)),
                    "file": getattr(code, "co_filename", None),
                    "line": getattr(code, "co_firstlineno", None),
                }
            )
        return found

    def _replaced(self) -> List[Tuple[Any, str, Any, str, Any]]:
        """Owner, name, what it was, label, what it is; without the marks of this probe."""
        found = []
        for owner, name, value, label in self._functions:
            now = vars(owner).get(name)
            if now is value or (type(now) is FunctionType and now.__code__.co_filename.startswith(_OWN)):
                continue
            found.append((owner, name, value, label, now))
        return found

    def undone(self) -> Undone:
        """A context in which the functions are as they were, so that a report can be made."""
        return Undone([(owner, name, value, now) for owner, name, value, _, now in self._replaced()])


class Undone:
    """Replacements (owner, name, what was there, what is there) taken back, and made again on leaving.

    A class, since the contexts of contextlib use what may be replaced before it is put back.
    """

    def __init__(self, replaced: List[Tuple[Any, str, Any, Any]]) -> None:
        self._replaced = replaced

    def __enter__(self) -> None:
        for owner, name, value, _ in self._replaced:
            setattr(owner, name, value)

    def __exit__(self, *_: object) -> None:
        for owner, name, _, now in self._replaced:
            setattr(owner, name, now)


def _state() -> Dict[str, Any]:
    found: Dict[str, Any] = {"the current directory": _directory(), "the recursion limit": _recursion_limit()}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            found["the handler of " + name] = _handler(number)
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


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and type(one) in (int, str, tuple) and bool(one == other)


def _directory() -> str:
    try:
        return _cwd()
    except OSError:
        return ""
