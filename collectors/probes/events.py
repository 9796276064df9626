"""Calls and exceptions of the model's code, as the interpreter tells of them.

``sys.monitoring`` (Python 3.12) where there is one, with events switched off at every place that
is of no interest; before that ``sys.settrace`` with line events off, and no local tracer at all
for functions of no interest, so that their returns cost nothing. (``sys.setprofile`` never sees
an exception that is raised and caught.) The thread that starts it is the one that is watched.
"""

from __future__ import annotations

import dis
import os
import sys
import threading
from typing import Any, Callable, Dict, Optional, Set, Tuple

from mlx_diagnose.collectors.probes.identity import identity

_MODEL_CODE = os.sep + "mlx_audio" + os.sep

#: Tools of ``sys.monitoring``, the one for profilers first; the patient's code may have taken it.
_TOOLS = (2, 3, 4, 1, 5, 0)
#: What is of interest in a function: nothing, exceptions, or its calls as well.
_NOTHING, _EXCEPTIONS, _CALLS = 0, 1, 2


class Listener:
    """What wants to know of calls; the methods do nothing here."""

    def may_want(self, code: Any) -> bool:
        """Whether the calls of a function may be of interest by its code alone: what most are dropped by."""
        raise NotImplementedError

    def wants(self, frame: Any) -> bool:
        """Whether the calls of the function that runs in ``frame`` are of interest; asked once a function."""
        raise NotImplementedError

    def entered(self, frame: Any) -> None:
        """A call begins; its arguments are in the frame."""

    def left(self, frame: Any, raised: bool) -> None:
        """The call ends; ``raised``: an exception left it."""

    def returned(self, code: Any) -> None:
        """The innermost call of a function that runs now ends, as ``left`` tells where its frame is at hand."""

    def current(self) -> Optional[int]:
        """The number of the call that runs now."""
        return None


class Events:
    """Tells ``exception(error)`` of exceptions met in mlx-audio's code, and a listener of calls."""

    def __init__(self, exception: Callable[[Any], None]) -> None:
        self._exception = exception
        self._listener: Optional[Listener] = None
        self._known: Dict[int, Tuple[int, Any]] = {}
        #: Codes (by id) whose calls are told: what is asked at every event.
        self._told: Set[int] = set()
        self._struck: Any = None
        self._thread = 0
        self._return = self._tool = 0
        self.active = False
        #: What went wrong in the listener, which is asked no more then: watching must not change what is watched.
        self.failure: Optional[str] = None

    def start(self, listener: Optional[Listener] = None) -> None:
        """Begin to watch; where the patient's code traces by itself, say so in :attr:`failure` instead."""
        if self.active:
            return
        self._listener = listener
        self.failure = None
        self._known.clear()
        self._told.clear()
        self._thread = threading.get_ident()
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is not None:
            free = [tool for tool in _TOOLS if monitoring.get_tool(tool) is None]
            if not free:
                self.failure = "the model's code has taken every tool of sys.monitoring"
                return
            self._tool = free[0]
            self._monitor(monitoring)
        elif sys.gettrace() is None:
            sys.settrace(self._called)
        else:
            self.failure = "the model's code has a tracer of its own (sys.settrace)"
            return
        self.active = True

    def stop(self) -> None:
        """End the watch."""
        if not self.active:
            return
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is not None:
            monitoring.set_events(self._tool, 0)
            for kind, code in self._known.values():
                if kind == _CALLS:
                    monitoring.set_local_events(self._tool, code, 0)
            monitoring.free_tool_id(self._tool)
        else:
            sys.settrace(None)
        self.active = False
        self._struck = None

    def _tell(self, what: str, *arguments: Any) -> Any:
        if self._listener is None or threading.get_ident() != self._thread:
            return None
        try:
            return getattr(self._listener, what)(*arguments)
        except BaseException as error:
            self._listener = None
            self.failure = "%s: %s" % (type(error).__name__, error)
            return None

    def _interest(self, frame: Any) -> int:
        code = frame.f_code
        known = self._known.get(identity(code))
        if known is None:
            if self._tell("may_want", code) and self._tell("wants", frame):
                kind = _CALLS
            else:
                kind = _EXCEPTIONS if _MODEL_CODE in code.co_filename else _NOTHING
            # The code object is kept, so that its id stays its own.
            known = self._known[identity(code)] = (kind, code)
        return known[0]

    # -- sys.monitoring ----------------------------------------------------------------------

    def _monitor(self, monitoring: Any) -> None:
        tool, events = self._tool, monitoring.events
        monitoring.use_tool_id(tool, "diagnose")
        monitoring.register_callback(tool, events.EXCEPTION_HANDLED, self._handled)
        wanted = events.EXCEPTION_HANDLED
        if self._listener is not None:
            monitoring.register_callback(tool, events.PY_START, self._started)
            monitoring.register_callback(tool, events.PY_RETURN, self._returned)
            monitoring.register_callback(tool, events.PY_UNWIND, self._unwinding())
            # Returns are switched on for the functions of interest alone; unwinding cannot be.
            wanted |= events.PY_START | events.PY_UNWIND
            self._return = events.PY_RETURN
        monitoring.set_events(tool, wanted)
        # Places that an earlier watch switched off are of interest again.
        monitoring.restart_events()

    def _handled(self, code: Any, _offset: int, error: BaseException) -> None:
        if _MODEL_CODE in code.co_filename:
            self._exception(error)

    def _started(self, code: Any, _offset: int) -> Any:
        told = identity(code) in self._told
        # A frame costs more to get than all the rest of what most functions are asked.
        if not told and not self._tell("may_want", code):
            return sys.monitoring.DISABLE  # type: ignore[attr-defined]
        frame = sys._getframe(1)
        if not told:
            if self._interest(frame) != _CALLS:
                return sys.monitoring.DISABLE  # type: ignore[attr-defined]
            self._told.add(identity(code))
            monitoring = sys.monitoring  # type: ignore[attr-defined]
            monitoring.set_local_events(self._tool, code, self._return)
        self._tell("entered", frame)
        return None

    def _returned(self, code: Any, _offset: int, _value: Any) -> None:
        self._tell("returned", code)

    def _unwinding(self) -> Callable[[Any, int, BaseException], None]:
        """The callback of an event that no function can be left out of: it does as little as it can."""
        told, tell, number, frame = self._told, self._tell, identity, sys._getframe

        def unwound(code: Any, _offset: int, _error: BaseException) -> None:
            if number(code) in told:
                tell("left", frame(1), True)

        return unwound

    # -- sys.settrace ------------------------------------------------------------------------

    def _called(self, frame: Any, _event: str, _arg: Any) -> Any:
        interest = self._interest(frame)
        if interest == _NOTHING:
            return None
        frame.f_trace_lines = False
        if interest == _EXCEPTIONS:
            return self._traced
        self._tell("entered", frame)
        return self._traced_call

    def _traced(self, _frame: Any, event: str, arg: Any) -> Any:
        if event == "exception":
            self._exception(arg[1])
        return self._traced

    def _traced_call(self, frame: Any, event: str, arg: Any) -> Any:
        if event == "exception":
            self._struck = frame
            if _MODEL_CODE in frame.f_code.co_filename:
                self._exception(arg[1])
        elif event == "return":
            self._tell("left", frame, frame is self._struck and not _returns(frame))
        return self._traced_call


def _returns(frame: Any) -> bool:
    """The last instruction of the frame was a return: what was raised in it was caught in it."""
    instruction = frame.f_code.co_code[frame.f_lasti]
    return bool(dis.opname[instruction].startswith(("RETURN", "YIELD")))
