"""Exceptions that the model's code raised and caught: the model that loads and stays silent.

Watched from the construction of the model on, not while modules are imported, where trying an
optional import is ordinary.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Optional

from mlx_diagnose.collectors.probes import failures, parts
from mlx_diagnose.collectors.probes.events import Events, Listener

#: At most so many are reported of one load.
MAX_CAUGHT = 20
#: Ordinary ways of asking whether something is there; catching them is no failure.
_ORDINARY = (AttributeError, KeyError, IndexError, StopIteration, StopAsyncIteration, GeneratorExit)
#: A ValueError is one where a sequence lacks what it was asked for; so CPython 3.10 to 3.14 word it.
_NOT_IN = re.compile(
    r"^\w+\.(index|remove)\(x\): x not in \w+$|(is|was) not in (list|deque|range|tuple)$|substring not found$"
)


def _is_ordinary(error: BaseException) -> bool:
    # Only of a plain ValueError: the text of another's is its class's to make, and may take long.
    return isinstance(error, _ORDINARY) or (type(error) is ValueError and _NOT_IN.search(str(error)) is not None)


class CaughtExceptions:
    """Collects while active; :meth:`stop` gives descriptions of what was caught, ``stage`` told by the caller."""

    def __init__(self, stage: Callable[[], Optional[str]]) -> None:
        self._stage = stage
        self._found: Dict[int, Any] = {}
        self._events = Events(self._note)
        self._listener: Optional[Listener] = None

    def start(self, listener: Optional[Listener] = None) -> None:
        """Begin to watch, and to tell ``listener`` of calls."""
        self._listener = listener
        self._events.start(listener)

    @property
    def failure(self) -> Optional[str]:
        """What went wrong in telling of calls, if anything did."""
        return self._events.failure

    def stop(self, raised: Optional[BaseException] = None) -> List[Dict[str, Any]]:
        """End the watch; what was caught and is not part of what was ``raised``, in order."""
        self._events.stop()
        current = raised
        while current is not None:
            # An exception that goes on is no caught one, nor is what led to it.
            self._found.pop(id(current), None)
            current = current.__cause__ or current.__context__
        found, self._found = self._found, {}
        linked = {id(error.__cause__ or error.__context__) for error, _, _ in found.values()}
        return [
            {**failures.describe(error, stage, "swallowed", order), "call": call, "parts": _parts(error)}
            for order, (error, stage, call) in enumerate(found.values())
            if id(error) not in linked
        ][:MAX_CAUGHT]

    def _note(self, error: Any) -> None:
        if isinstance(error, BaseException) and not _is_ordinary(error) and len(self._found) < 4 * MAX_CAUGHT:
            call = self._listener.current() if self._listener is not None else None
            self._found.setdefault(id(error), (error, self._stage() or "construct", call))


def _parts(error: BaseException) -> List[Dict[str, Any]]:
    try:
        return parts.left_empty(error)
    except BaseException:
        # The patient's objects may resist being looked at.
        return []
