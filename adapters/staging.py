"""Where a new directory is made before it gets its name: hidden beside its target, and gone if it is not finished.

What a process that was killed has left (``.diagnose-*`` with a mark of ours, locked by nobody) goes with the next
one that writes there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".diagnose-"
#: Name of the empty file that says a folder is of ours.
MARK = "being-written-by-diagnose"


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A hidden directory beside ``target`` with a directory of its name; what is left in it goes at the end."""
    _sweep(target.parent)
    with _ended_in_order():
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
        lock = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # no locks there: then nothing is swept there either
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / MARK).touch()
            staged = folder / target.name
            staged.mkdir()
            yield staged
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _sweep(folder: Path) -> None:
    """Remove what a killed process has left in ``folder``. The lock of a process ends with it."""
    for left in folder.glob(f"{PREFIX}*"):
        if not (left / MARK).is_file() or left.is_symlink():
            continue
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A request to end (SIGTERM, SIGHUP) interrupts as Ctrl-C does, so that nothing half-written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
