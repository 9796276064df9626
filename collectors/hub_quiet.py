"""How the hub's client behaves while a diagnosis asks: it says nothing, and large files come as any other.

What is switched belongs to the whole process, which may ask for two diagnoses at once: the first that
begins switches, the last that ends switches back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
_LOCK = threading.Lock()
_back: list[Callable[[], None]] = []
_asking = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the client's warnings and progress bars off standard error: what went wrong is in the report.

    Large files are fetched over HTTP as well, not through ``hf_xet``: that goes to other hosts, over connections
    that nobody counts, into a cache of its own, and without a second way where those hosts are out of reach.
    A job that was left behind in the network has a copy of this context, and stays quiet.
    """
    global _asking
    with _LOCK:
        if _asking == 0:
            _back[:] = _switch()
        _asking += 1
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)
        with _LOCK:
            _asking -= 1
            if _asking == 0:
                for undo in _back:
                    undo()


def _switch() -> list[Callable[[], None]]:
    """Switch the client's settings; what switches them back."""
    from huggingface_hub import constants, utils

    # Typed as anything: what is in them differs between its releases.
    settings: Any = constants
    bars: Any = utils
    logger = logging.getLogger("huggingface_hub")
    for handler in logger.handlers:
        handler.addFilter(_may_speak)
    level, xet = logger.level, settings.HF_HUB_DISABLE_XET
    logger.setLevel(logging.CRITICAL)
    settings.HF_HUB_DISABLE_XET = True

    def back() -> None:
        logger.setLevel(level)
        settings.HF_HUB_DISABLE_XET = xet

    undo = [back]
    if not bars.are_progress_bars_disabled():
        bars.disable_progress_bars()
        undo.append(bars.enable_progress_bars)
    if hasattr(bars, "reset_sessions"):
        # Before 1.0 each thread has a session of its own, whose connections outlive it.
        undo.append(bars.reset_sessions)
    return undo


def _may_speak(_: logging.LogRecord) -> bool:
    return not _QUIET.get()
