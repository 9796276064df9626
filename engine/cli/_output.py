"""Where the result goes, and the status line while one waits for it."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TextIO

from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View, is_terminal, view_for

STDOUT = "-"


def check_writable(path: str) -> None:
    """Raise UsageError if a report cannot be written to ``path``: better now than after the diagnosis."""
    if path == STDOUT:
        return
    target = Path(path)
    if target.is_dir():
        raise _unwritable(path, "it is a directory")
    if not target.parent.is_dir():
        raise _unwritable(path, f"there is no directory {target.parent}")
    if not os.access(target.parent if _is_replaceable(target) else target, os.W_OK):
        raise _unwritable(path, "it may not be written")


def write(text: str, path: str | None) -> None:
    """Write a result to standard output, or to the file ``path`` as a whole or not at all."""
    if path is None or path == STDOUT:
        # What the terminal's encoding lacks is better escaped than fatal.
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    from mlx_diagnose.engine.runs import write_atomically

    target = Path(path)
    try:
        if _is_replaceable(target):
            target = target.resolve()  # a link stays a link
            write_atomically(target, text, _mode(target))
        else:
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def _is_replaceable(path: Path) -> bool:
    """Whether ``path`` is a plain file or none; a device or a pipe is written to as it is."""
    return path.is_file() or not path.exists()


def _mode(path: Path) -> int:
    """The mode that a file keeps when it is replaced, or that a new file gets."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _unwritable(path: str, why: str) -> UsageError:
    return UsageError(
        "cannot-write",
        f"The report cannot be written to {path}.",
        why=f"Reason: {why}.",
        next_step="Give -o a file in a directory that you may write to.",
    )


class StatusLine(AbstractContextManager["StatusLine"]):
    """One line on standard error that says what is going on, and is gone at the end.

    Nothing is shown where standard error is no terminal.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = is_terminal(self._stream) and os.environ.get("TERM") != "dumb"
        self._view: View = view_for(self._stream, "auto", False, os.environ)

    def __call__(self, message: str) -> None:
        """Show ``message`` in place of the last one."""
        if self._shown:
            text = self._view.cut(one_line(message), self._view.width - 1)
            self._stream.write(f"\r\x1b[2K{self._view.paint(text, 'dim')}")
            self._stream.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
