"""Calls and exceptions of the model's code, as the interpreter tells of them.

``sys.monitoring`` (Python 3.12) where there is one, with events switched off at every place that
is of no interest; before that ``sys.settrace`` with line events off, and no local tracer at all
for functions of no interest, so that their returns cost nothing. (``sys.setprofile`` never sees
an exception that is raised and caught.) The thread that starts it is the one that is watched.
"""

from __future__ import annotations

import dis
import gc
import os
import sys
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

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

    def entered(self, frame: Any, code: Any) -> None:
        """A call of a function begins; its arguments are in the frame.

        ``code`` is ``frame.f_code``, which raises an audit event each time that it is asked.
        """

    def left(self, frame: Any, raised: bool) -> None:
        """The call ends; ``raised``: an exception left it."""

    def returned(self, code: Any) -> None:
        """The innermost call of a function that runs now ends, as ``left`` tells where its frame is at hand."""

    def current(self) -> Optional[int]:
        """The number of the call that runs now."""
        return None


class Events:
    """Tells ``exception(error)`` of exceptions met in mlx-audio's code, and a listener of calls.

    What the interpreter calls at every event is a function that has all it needs at hand: a model is
    made in thousands of short calls, and each pays for it.
    """

    def __init__(self, exception: Callable[[Any], None]) -> None:
        self._exception = exception
        self._listener: Optional[Listener] = None
        #: What is of interest in functions, by the number of their code.
        self._interests: Dict[int, int] = {}
        #: The code objects themselves, so that a number stays that of one code.
        self._codes: List[Any] = []
        self._thread = 0
        self._tool = 0
        self.active = False
        #: What went wrong in the listener, which is asked no more then: watching must not change what is watched.
        self.failure: Optional[str] = None

    def start(self, listener: Optional[Listener] = None) -> None:
        """Begin to watch; where the patient's code traces by itself, say so in :attr:`failure` instead."""
        if self.active:
            return
        self._listener = listener
        self.failure = None
        self._interests.clear()
        self._codes.clear()
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
            sys.settrace(self._tracer())
        else:
            self.failure = "the model's code has a tracer of its own (sys.settrace)"
            return
        self.active = True
        if listener is not None:
            # What was imported is not walked again and again by the garbage collector, which what is noted wakes
            # earlier. A model that was loaded before and let go must be gone by then: frozen, it would stay.
            gc.collect()
            gc.freeze()

    def stop(self) -> None:
        """End the watch."""
        if not self.active:
            return
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is not None:
            monitoring.set_events(self._tool, 0)
            for code in self._codes:
                if self._interests[identity(code)] == _CALLS:
                    monitoring.set_local_events(self._tool, code, 0)
            monitoring.free_tool_id(self._tool)
        else:
            sys.settrace(None)
        self.active = False
        gc.unfreeze()

    def _failed(self, error: BaseException) -> None:
        self._listener = None
        self.failure = "%s: %s" % (type(error).__name__, error)

    def _interest(self, frame: Any) -> int:
        """What is of interest in the function that runs in ``frame``; asked once a function."""
        code, listener = frame.f_code, self._listener
        kind = _EXCEPTIONS if _MODEL_CODE in code.co_filename else _NOTHING
        try:
            if listener is not None and listener.may_want(code) and listener.wants(frame):
                kind = _CALLS
        except BaseException as error:
            self._failed(error)
        self._interests[identity(code)] = kind
        self._codes.append(code)
        return kind

    # -- sys.monitoring ----------------------------------------------------------------------

    def _monitor(self, monitoring: Any) -> None:
        tool, events = self._tool, monitoring.events
        monitoring.use_tool_id(tool, "diagnose")
        monitoring.register_callback(tool, events.EXCEPTION_HANDLED, self._handled)
        wanted = events.EXCEPTION_HANDLED
        if self._listener is not None:
            began, returned, unwound = self._callbacks(self._listener, monitoring)
            monitoring.register_callback(tool, events.PY_START, began)
            monitoring.register_callback(tool, events.PY_RETURN, returned)
            monitoring.register_callback(tool, events.PY_UNWIND, unwound)
            # Returns are switched on for the functions of interest alone; unwinding cannot be.
            wanted |= events.PY_START | events.PY_UNWIND
        monitoring.set_events(tool, wanted)
        # Places that an earlier watch switched off are of interest again.
        monitoring.restart_events()

    def _handled(self, code: Any, _offset: int, error: BaseException) -> None:
        if _MODEL_CODE in code.co_filename:
            self._exception(error)

    def _callbacks(self, listener: Listener, monitoring: Any) -> Tuple[Callable[..., Any], ...]:
        """What is called when a function begins, returns, and is left by an exception."""
        interests, number, frame_of = self._interests, identity, sys._getframe
        tool, returns, disable = self._tool, monitoring.events.PY_RETURN, monitoring.DISABLE
        thread, running = self._thread, threading.get_ident

        def began(code: Any, _offset: int) -> Any:
            if running() != thread:
                # Where one thread's events are switched off, the other's are.
                return None
            kind = interests.get(number(code))
            try:
                # A frame costs more to get than all the rest of what most functions are asked.
                if kind is None and listener.may_want(code):
                    kind = self._interest(frame_of(1))
                    if kind == _CALLS:
                        monitoring.set_local_events(tool, code, returns)
                if kind != _CALLS:
                    return disable
                if self._listener is not None:
                    listener.entered(frame_of(1), code)
            except BaseException as error:
                self._failed(error)
            return None

        def returned(code: Any, _offset: int, _value: Any) -> None:
            if running() == thread and self._listener is not None:
                try:
                    listener.returned(code)
                except BaseException as error:
                    self._failed(error)

        def unwound(code: Any, _offset: int, _error: BaseException) -> None:
            # No function can be left out of this event: it does as little as it can.
            if interests.get(number(code)) == _CALLS and running() == thread and self._listener is not None:
                try:
                    listener.left(frame_of(1), True)
                except BaseException as error:
                    self._failed(error)

        return began, returned, unwound

    # -- sys.settrace, which is of this thread alone -----------------------------------------

    def _tracer(self) -> Callable[[Any, str, Any], Any]:
        """What is called when a function begins; it gives what is called of what happens in it."""
        interests, number, interest = self._interests, identity, self._interest
        exception, listener = self._exception, self._listener
        struck: Any = None

        def called(frame: Any, _event: str, _arg: Any) -> Any:
            code = frame.f_code
            kind = interests.get(number(code))
            if kind is None:
                kind = interest(frame)
            if not kind:
                return None
            frame.f_trace_lines = False
            if kind == _EXCEPTIONS:
                return traced
            if self._listener is not None:
                try:
                    listener.entered(frame, code)  # type: ignore[union-attr]
                except BaseException as error:
                    self._failed(error)
            return traced_call

        def traced(_frame: Any, event: str, arg: Any) -> Any:
            if event == "exception":
                exception(arg[1])
            return traced

        def traced_call(frame: Any, event: str, arg: Any) -> Any:
            nonlocal struck
            if event == "exception":
                struck = frame
                if _MODEL_CODE in frame.f_code.co_filename:
                    exception(arg[1])
            elif event == "return" and self._listener is not None:
                try:
                    listener.left(frame, frame is struck and not _returns(frame))  # type: ignore[union-attr]
                except BaseException as error:
                    self._failed(error)
            return traced_call

        return called


def _returns(frame: Any) -> bool:
    """The last instruction of the frame was a return: what was raised in it was caught in it."""
    instruction = frame.f_code.co_code[frame.f_lasti]
    return bool(dis.opname[instruction].startswith(("RETURN", "YIELD")))
