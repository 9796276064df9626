"""Counts what a diagnosis asks of the network: requests, redirects among them, and bytes of bodies.

The client's sessions are shared by a whole process, so a hook is put on a session once, and it
counts for the meter of whoever makes the request (a context variable). Two diagnoses at once
count apart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_CURRENT: ContextVar[list[Callable[[], int]] | None] = ContextVar("meter", default=None)


class Meter:
    """Requests that were answered, and bytes that came, in the contexts in which it was active."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Requests; every redirect that was followed is one more.
        self.requests = 0
        #: Bytes of the bodies of all answers, as they came over the wire.
        self.bytes = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count the requests of this context."""
        answers: list[Callable[[], int]] = []
        token = _CURRENT.set(answers)
        try:
            yield
        finally:
            _CURRENT.reset(token)
            with self._lock:
                self.requests += len(answers)
                self.bytes += sum(size() for size in answers)


def watch(session: Any) -> None:
    """Let ``session`` (of requests, or a client of httpx) report to the meter of whoever uses it."""
    if hasattr(session, "event_hooks"):
        hooks = session.event_hooks
        if _httpx_answer not in hooks.get("response", ()):
            session.event_hooks = {**hooks, "response": [*hooks.get("response", ()), _httpx_answer]}
    elif _requests_answer not in session.hooks["response"]:
        session.hooks["response"].append(_requests_answer)


def _httpx_answer(response: Any) -> None:
    answers = _CURRENT.get()
    if answers is not None:
        answers.append(lambda: int(response.num_bytes_downloaded))


def _requests_answer(response: Any, *_: Any, **__: Any) -> None:
    answers = _CURRENT.get()
    if answers is not None:
        answers.append(lambda: int(response.raw.tell()))
