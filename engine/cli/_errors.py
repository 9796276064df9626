"""Errors for a person, on standard error, and the log of a crash."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlx_diagnose import __version__
from mlx_diagnose.engine.model import DiagnoseError
from mlx_diagnose.engine.report.sanitise import lines, redact
from mlx_diagnose.engine.report.view import View, home_relative, view_for

_LABEL = 6


def show_error(error: DiagnoseError) -> int:
    """Print ``error`` and return its exit code."""
    _print(error_lines(error, _view()))
    return error.exit_code


def error_lines(error: DiagnoseError, view: View) -> Iterator[str]:
    """What happened, why, what to do next, and the stable name of the error.

    A line of ours is folded; lines that the error brings (a list of problems) keep their breaks.
    """
    name = "diagnose:"
    first, *rest = view.fold(" ".join(lines(error.what)), "  ", f"{name} ") or [f"{name} "]
    yield view.paint(name, "red", "bold") + first[len(name) :]
    yield from rest
    for label, text in (("why", error.why), ("next", error.next_step), ("ref", error.reference)):
        lead = f"  {label:<{_LABEL}}"
        folded = [row for line in (lines(text) if text else ()) for row in view.fold(line, " " * len(lead))]
        for number, row in enumerate(folded):
            yield (view.paint(lead, "dim") if number == 0 else " " * len(lead)) + row[len(lead) :]


def report_crash(error: Exception, words: Sequence[str]) -> None:
    """Say that diagnose itself failed, and where its log is; the log holds no environment and no secrets."""
    log = _save_log(_log(error, words))
    kind = type(error).__name__
    message = " ".join(str(error).split())[:300]
    ours = DiagnoseError(
        "internal-error",
        f"A defect of diagnose itself: {kind}{': ' if message else ''}{message}",
        why="This says nothing about your model: diagnose failed before it could answer.",
        next_step=f"Please report it with this log: {home_relative(str(log))}"
        if log
        else "Please report it; a log could not be written.",
    )
    _print(error_lines(ours, _view()))


def _log(error: Exception, words: Sequence[str]) -> str:
    trace = "".join(traceback.format_exception(error))
    return (
        redact(
            f"diagnose {__version__}\nPython {platform.python_version()} on {platform.platform()}\n"
            f"command: diagnose {shlex.join(words)}\n\n{trace}"
        )
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )


def _save_log(text: str) -> Path | None:
    """The path of the written log: in our own directory, else among temporary files, else nowhere."""
    from mlx_diagnose.engine.runs import home, write_atomically

    name = f"diagnose-crash-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    folders: tuple[Callable[[], Path], ...] = (lambda: home() / "crashes", lambda: Path(tempfile.gettempdir()))
    for folder in folders:
        try:
            path = folder() / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, text)
        except (OSError, RuntimeError):
            continue
        return path
    return None


def _view() -> View:
    return view_for(sys.stderr, "auto", False, os.environ)


def _print(told: Iterator[str]) -> None:
    for line in told:
        print(_fitting(line), file=sys.stderr)


def _fitting(line: str) -> str:
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
