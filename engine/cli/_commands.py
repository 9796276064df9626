"""Which subcommands there are, and which one a command line means."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from mlx_diagnose.engine import cli
from mlx_diagnose.engine.model import ExitCode


def subcommands() -> list[str]:
    """Names of the subcommands, by the modules that are there; nothing is imported."""
    modules = (module.name for module in pkgutil.iter_modules(cli.__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def load(name: str) -> click.Command:
    """The command of a subcommand's module."""
    attribute = name.replace("-", "_")
    command = getattr(import_module(f"{cli.__name__}.{attribute}"), attribute)
    assert isinstance(command, click.Command)
    return command


def dispatch(words: Sequence[str]) -> int:
    """Run the subcommand that the first word names, else diagnose a model; the exit code.

    Raises click.ClickException, DiagnoseError, or whatever is a defect of ours.
    """
    from mlx_diagnose.engine.cli._diagnose import diagnose

    if not words:
        with click.Context(diagnose, info_name="diagnose", **diagnose.context_settings) as context:
            click.echo(diagnose.get_help(context), file=sys.stderr)
        return ExitCode.USAGE
    if words[0] in subcommands():
        above = click.Context(click.Command("diagnose"), info_name="diagnose", help_option_names=["-h", "--help"])
        code = load(words[0]).main(args=list(words[1:]), prog_name=words[0], standalone_mode=False, parent=above)
    else:
        code = diagnose.main(args=list(words), prog_name="diagnose", standalone_mode=False)
    return code if isinstance(code, int) else ExitCode.LOADS
