"""Exceptions that the model's code raised and caught: the model that loads and stays silent.

Watched from the construction of the model on, not while modules are imported, where trying an
optional import is ordinary. ``sys.monitoring`` (Python 3.12) tells what is handled; before that
``sys.settrace`` with line events off does (``sys.setprofile`` never sees a caught exception).
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Dict, List, Optional

from mlx_diagnose.collectors.probes import failures

#: At most so many are reported of one load.
MAX_CAUGHT = 20
_MODEL_CODE = os.sep + "mlx_audio" + os.sep
#: Ordinary ways of asking whether something is there; catching them is no failure.
_ORDINARY = (AttributeError, KeyError, IndexError, StopIteration, StopAsyncIteration, GeneratorExit)


class CaughtExceptions:
    """Collects while active; :meth:`stop` gives descriptions of what was caught, ``stage`` told by the caller."""

    def __init__(self, stage: Callable[[], Optional[str]]) -> None:
        self._stage = stage
        self._found: Dict[int, Any] = {}
        self._active = False
        self._previous: Any = None

    def start(self) -> None:
        """Begin to watch. Does nothing where another tracer or a tool of the same name is at work."""
        if self._active:
            return
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is not None:
            if monitoring.get_tool(monitoring.PROFILER_ID) is not None:
                return
            monitoring.use_tool_id(monitoring.PROFILER_ID, "diagnose")
            monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.EXCEPTION_HANDLED, self._handled)
            monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.EXCEPTION_HANDLED)
        elif sys.gettrace() is None:
            sys.settrace(self._called)
        else:
            return
        self._active = True

    def stop(self, raised: Optional[BaseException] = None) -> List[Dict[str, Any]]:
        """End the watch; what was caught and is not part of what was ``raised``, in order."""
        if self._active:
            monitoring = getattr(sys, "monitoring", None)
            if monitoring is not None:
                monitoring.set_events(monitoring.PROFILER_ID, 0)
                monitoring.free_tool_id(monitoring.PROFILER_ID)
            else:
                sys.settrace(None)
            self._active = False
        current = raised
        while current is not None:
            # An exception that goes on is no caught one, nor is what led to it.
            self._found.pop(id(current), None)
            current = current.__cause__ or current.__context__
        found, self._found = self._found, {}
        linked = {id(error.__cause__ or error.__context__) for error, _ in found.values()}
        return [
            failures.describe(error, stage, "swallowed", order)
            for order, (error, stage) in enumerate(found.values())
            if id(error) not in linked
        ][:MAX_CAUGHT]

    def _note(self, error: Any) -> None:
        if isinstance(error, BaseException) and not isinstance(error, _ORDINARY) and len(self._found) < 4 * MAX_CAUGHT:
            self._found.setdefault(id(error), (error, self._stage() or "construct"))

    def _handled(self, code: Any, _offset: int, error: BaseException) -> None:
        if _MODEL_CODE in code.co_filename:
            self._note(error)

    def _called(self, frame: Any, _event: str, _arg: Any) -> Any:
        if _MODEL_CODE not in frame.f_code.co_filename:
            return None
        frame.f_trace_lines = False
        return self._traced

    def _traced(self, frame: Any, event: str, arg: Any) -> Any:
        if event == "exception":
            self._note(arg[1])
        return self._traced
