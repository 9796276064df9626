"""What subcommands share: options, rules, printing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from mlx_diagnose.engine.cli._output import write
from mlx_diagnose.engine.report.view import ColorChoice, View, view_for

if TYPE_CHECKING:
    from mlx_diagnose.engine.rulebase.loader import RuleBase

CATEGORIES = ("tts", "stt", "sts", "vad", "lid", "codec")

category_option = click.option(
    "--category", type=click.Choice(CATEGORIES), help="What kind of model it is; found out by default."
)
online_option = click.option(
    "--online/--offline", default=None, help="Whether the hub may be asked; local directories: offline."
)
rules_option = click.option(
    "--rules", "rule_dirs", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="More rules."
)
no_plugins_option = click.option("--no-plugins", is_flag=True, help="Leave installed rule packs out.")
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="The least severity that gives exit code 1.",
)
color_option = click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="Colours."
)


def read_rules(rule_dirs: tuple[Path, ...], no_plugins: bool) -> RuleBase:
    """The rules in force, with those of ``rule_dirs``."""
    from mlx_diagnose.engine.rulebase.loader import load_rules
    from mlx_diagnose.engine.rulebase.sources import default_sources

    return load_rules(default_sources(rule_dirs, not no_plugins))


def screen(color: ColorChoice, stream: TextIO | None = None) -> View:
    """The view of ``stream``, standard output by default."""
    return view_for(stream or sys.stdout, color, False, os.environ)


def show(lines: Iterator[str]) -> None:
    """Print ``lines`` as the result."""
    write("".join(f"{line}\n" for line in lines), None)
