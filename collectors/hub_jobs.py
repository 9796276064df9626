"""Runs a handful of blocking jobs at once, until a deadline, in threads that never keep the process from ending."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")
_WORKERS = 8


def run_all(
    jobs: Sequence[Callable[[], Result]], deadline: float, workers: int = _WORKERS
) -> list[Result | BaseException]:
    """What every job gave or raised, in their order; TimeoutError for one that is not done by ``deadline``.

    A job that hangs in the network cannot be stopped: its thread is left behind.
    """
    results: list[Result | BaseException] = [TimeoutError("no time was left")] * len(jobs)
    if len(jobs) < 2:
        workers = 1
    ahead = iter(enumerate(jobs))
    lock = threading.Lock()

    def work() -> None:
        while time.monotonic() < deadline:
            with lock:
                at, job = next(ahead, (-1, None))
            if job is None:
                return
            try:
                results[at] = job()
            except BaseException as error:
                results[at] = error

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
        for _ in range(min(workers, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return list(results)
