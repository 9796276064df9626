"""``--traceback FILE``: reading the text, and what goes with it on a command line."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path

import click
from click.core import ParameterSource

from mlx_diagnose.engine.cli._output import StatusLine
from mlx_diagnose.engine.model import Report, UsageError
from mlx_diagnose.engine.options import Options

STDIN = "-"
#: Options that say how a model is run; without one they have no meaning.
_OF_A_RUN = ("python", "revision", "online", "only_static", "timeout", "memory", "fix", "out", "diff")
#: Bytes that are read at most; a longer text counts by its end.
_LONGEST = 20_000_000


def check_alone(context: click.Context, model: str | None) -> None:
    """Raise UsageError for what cannot stand beside ``--traceback``."""
    if model is not None:
        raise UsageError(
            "model-and-traceback",
            "A MODEL and --traceback were given.",
            why="A traceback is classified without the model; with the model at hand its load tells more.",
            next_step=f"diagnose {model}, or diagnose --traceback FILE alone.",
        )
    for name in _OF_A_RUN:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                "option-without-run",
                f"--{name.replace('_', '-')} has no meaning with --traceback.",
                why="Nothing is run: the text is all there is.",
                next_step="Leave the option out.",
            )


def classify(file: str, options: Options) -> Report:
    """The report about the traceback in ``file``, ``-`` for standard input. Raises UsageError if it cannot be read."""
    text = _read(file)
    from mlx_diagnose.engine import pasted

    with StatusLine() as progress:
        progress("classifying the traceback")
        return pasted.classify(
            text,
            category=options.category,
            engine=options.engine,
            rule_dirs=options.rule_dirs,
            plugins=options.plugins,
        )


def _read(file: str) -> str:
    from mlx_diagnose.collectors.pasted_lines import decode

    if file == STDIN:
        if sys.stdin.isatty():
            print("diagnose: paste the traceback, then press Ctrl-D", file=sys.stderr)
        return decode(sys.stdin.buffer.read(_LONGEST))
    path = Path(file).expanduser()
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            stream.seek(max(0, size - _LONGEST))
            return decode(stream.read(_LONGEST))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            "no-such-traceback",
            f"The traceback cannot be read from {file}.",
            why=f"Reason: {reason}.",
            next_step=_did_you_mean(path) or "Give a text file, or `-` to paste the traceback on standard input.",
        ) from None


def _did_you_mean(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except (OSError, ValueError):
        return ""
    near = get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"Did you mean {path.parent / near[0]}?" if near else ""
