"""``diagnose env``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import color_option, fail_on_option, no_plugins_option, rules_option
from mlx_diagnose.engine.cli._output import StatusLine, check_writable, write
from mlx_diagnose.engine.model import ExitCode
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.report.view import ColorChoice, View, view_for


@click.command()
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@click.option(
    "--category",
    type=click.Choice(("tts", "stt", "sts", "vad", "lid", "codec")),
    help="Only the families of one category.",
)
@click.option("--only-static", is_flag=True, help="Look at files only; do not start the interpreter.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@fail_on_option
@click.option("--exit-zero", is_flag=True, help="Exit with 0 instead of 1.")
@click.option("-v", "--verbose", is_flag=True, help="Also notes.")
@rules_option
@no_plugins_option
@color_option
def env(
    python: str | None,
    category: str | None,
    only_static: bool,
    as_json: bool,
    output: str | None,
    fail_on: str,
    exit_zero: bool,
    verbose: bool,
    rule_dirs: tuple[Path, ...],
    no_plugins: bool,
    color: ColorChoice,
) -> int:
    """Tell what an environment has, and which families of mlx-audio cannot be imported in it.

    Exits with 1 if something is wrong for every model; a family that misses a package is a warning.
    """
    from mlx_diagnose.engine.report import survey as rendered
    from mlx_diagnose.engine.survey import survey

    if output is not None:
        check_writable(output)
    options = Options(
        model="",
        python=python,
        category=category,
        only_static=only_static,
        rule_dirs=rule_dirs,
        plugins=not no_plugins,
    )
    with StatusLine() as progress:
        found = survey(options, progress)
    view = view_for(sys.stdout, color, verbose, os.environ)
    if output not in (None, "-"):
        view = View(color=color == "always", verbose=verbose)
    write(rendered.render_json(found) if as_json else rendered.render_text(found, view), output)
    counted = ("error",) if fail_on == "error" else ("error", "warning")
    wrong = any(finding.severity in counted for finding in found.findings)
    return ExitCode.FAILURE if wrong and not exit_zero else ExitCode.LOADS
