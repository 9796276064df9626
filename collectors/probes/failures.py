"""Exceptions as data: the chain with its frames, without holding on to the objects."""

from __future__ import annotations

import linecache
import sys
from types import TracebackType
from typing import Any, Dict, List, Optional

MAX_FRAMES = 60
MAX_CHAIN = 12
_OWN = "<diagnose>/"

#: Attributes of exceptions that say what was wanted.
_TELLING = ("name", "path", "filename", "errno", "name_from", "repo_id", "repo_type", "server_message")


def frames(traceback: Optional[TracebackType]) -> List[Dict[str, Any]]:
    """The frames of a traceback, outermost first, without our own."""
    found = []
    while traceback is not None:
        frame = traceback.tb_frame
        file = frame.f_code.co_filename
        if not file.startswith(_OWN) and file != "<string>":
            found.append(
                {
                    "file": file,
                    "line": traceback.tb_lineno,
                    "function": getattr(frame.f_code, "co_qualname", frame.f_code.co_name),
                    "module": str(frame.f_globals.get("__name__", "")),
                    "source": linecache.getline(file, traceback.tb_lineno, frame.f_globals).strip(),
                }
            )
        traceback = traceback.tb_next
    return found[-MAX_FRAMES:]


def describe(error: BaseException, stage: str, role: str, order: int = 0) -> Dict[str, Any]:
    """One exception: type, text, telling attributes, frames."""
    kind = type(error)
    attributes = {}
    for name in _TELLING:
        try:
            value = getattr(error, name, None)
        except BaseException:
            continue
        if isinstance(value, (str, int)):
            attributes[name] = value
    if isinstance(error, (KeyError, AttributeError)) and error.args:
        attributes["key"] = str(error.args[0])
    owner = getattr(error, "obj", None)
    if isinstance(error, AttributeError) and owner is not None:
        attributes["obj_type"] = type(owner).__name__
        if isinstance(owner, type(sys)):
            attributes["obj_module"] = owner.__name__
        else:
            attributes.update(_owner(owner))
    try:
        message = str(error)
    except BaseException as unprintable:
        message = "<unprintable: %s>" % type(unprintable).__name__
    return {
        "stage": stage,
        "role": role,
        "order": order,
        "type": kind.__name__,
        "module": kind.__module__,
        "bases": [base.__name__ for base in kind.__mro__[1:-1]],
        "message": message[:20000],
        "attributes": attributes,
        "frames": frames(error.__traceback__),
    }


def _owner(owner: Any) -> Dict[str, Any]:
    """The full name of the class that lacked an attribute, and whether itself was asked (1) or an object of it (0);
    the module of its nearest base in another package.
    """
    kind = owner if isinstance(owner, type) else type(owner)
    try:
        name = "%s.%s" % (kind.__module__, kind.__qualname__)
        own = kind.__module__.partition(".")[0]
        bases = [base.__module__ for base in kind.__mro__[1:-1]]
        base = next((module for module in bases if module.partition(".")[0] != own), None)
    except BaseException:
        return {}
    found: Dict[str, Any] = {"obj_class": name, "obj_is_class": int(kind is owner)}
    if base is not None:
        found["obj_base"] = base
    return found


def chain(error: BaseException, stage: str) -> List[Dict[str, Any]]:
    """The exception and what it came from, explicit causes and contexts alike, newest first.

    A context that was suppressed (``raise ... from None``) is kept: it often is the root.
    """
    described: List[Dict[str, Any]] = []
    seen = set()
    current: Optional[BaseException] = error
    while current is not None and id(current) not in seen and len(described) < MAX_CHAIN:
        seen.add(id(current))
        described.append(describe(current, stage, "raised" if not described else "cause", len(described)))
        current = current.__cause__ or current.__context__
    return described
