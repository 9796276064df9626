"""What ``--fix`` wrote, for a person."""

from __future__ import annotations

from collections.abc import Iterator

from mlx_diagnose.engine.model import Written
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.view import View, home_relative

_INDENT = "  "
_FILES_SHOWN = 12
_HOW = {"copy": "copied", "hard-link": "hard link", "symlink": "symbolic link", "written": "written"}


def written_lines(written: Written, view: View) -> Iterator[str]:
    """The lines of the section."""
    if written.path is not None:
        told = f"Written {one_line(written.path)}"
        yield from (view.paint(line, "bold", "green") for line in view.fold(told, _INDENT))
        yield from view.fold(_what_was_made(written), _INDENT, _INDENT)
        yield from _files(written, view)
        if written.registry is not None:
            told = f"Kept in the registry: {one_line(home_relative(written.registry))}"
            yield from view.fold(told, _INDENT * 2, _INDENT)
    elif written.reason is not None:
        style = "green" if written.loads else "yellow"
        told = f"Nothing written: {one_line(written.reason)}."
        yield from (view.paint(line, "bold", style) for line in view.fold(told, _INDENT))
    if written.commands:
        yield "To run:"
        # What is to be pasted is never folded.
        yield from (f"{_INDENT}{view.paint(line, 'cyan')}" for command in written.commands for line in lines(command))
    if written.diff is not None:
        yield from lines(written.diff.rstrip("\n"))


def _what_was_made(written: Written) -> str:
    made = ", ".join(map(one_line, written.fixes))
    note = f"{one_line(written.reason)}." if written.reason else ""
    if not made:
        return note[:1].upper() + note[1:]
    told = f"With {made}; loaded once more by the patient's own loader: it loads."
    return f"{told} But {note}" if note else told


def _files(written: Written, view: View) -> Iterator[str]:
    # What was written first: it is what differs.
    files = sorted(written.files, key=lambda file: (file.how != "written", file.file))
    for file in files[: None if view.verbose else _FILES_SHOWN]:
        told = f"{one_line(file.file)}: {_HOW.get(file.how, file.how)} ({one_line(file.why)})"
        yield from view.fold(told, _INDENT * 2, _INDENT)
    if len(files) > _FILES_SHOWN and not view.verbose:
        yield f"{_INDENT}and {len(files) - _FILES_SHOWN} more files (-v lists them)"
