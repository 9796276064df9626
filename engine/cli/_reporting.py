"""How a report is handed over: the options that say so, saving, printing, the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar

import click

from mlx_diagnose.engine.cli._asking import color_option
from mlx_diagnose.engine.cli._output import STDOUT, check_writable, write
from mlx_diagnose.engine.model import ExitCode, Report, is_cut_off
from mlx_diagnose.engine.report import formats
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import ColorChoice, View, view_for

FailOn = Literal["error", "warning"]
_Command = TypeVar("_Command", bound=Callable[..., int])


@dataclass(frozen=True, slots=True)
class Reporting:
    """What is to become of a report. ``output`` is a file, or None for standard output."""

    format: str
    output: str | None
    fail_on: FailOn
    exit_zero: bool
    verbose: bool
    color: ColorChoice

    def deliver(self, report: Report) -> ExitCode:
        """Save ``report`` as a run, write it, and return the exit code."""
        from mlx_diagnose.engine import runs

        report = runs.save(report)
        write(formats.render(self.format, report, self._view()), self.output)
        if self.output not in (None, STDOUT):
            print(f"diagnose: {report.verdict}; the report is in {one_line(str(self.output))}", file=sys.stderr)
        return exit_code(report, self.fail_on, self.exit_zero)

    def _view(self) -> View:
        if self.output in (None, STDOUT):
            return view_for(sys.stdout, self.color, self.verbose, os.environ)
        return View(color=self.color == "always", verbose=self.verbose)  # a file is coloured only on demand


def exit_code(report: Report, fail_on: FailOn, exit_zero: bool) -> ExitCode:
    """What the command returns for ``report``.

    Where the loader was not run (``--only-static``) the verdict is ``fails`` with an error
    finding and ``inconclusive`` without, so no case of its own is needed. A hub that could not be
    asked is a failure that was diagnosed, though of the model nothing is known.
    """
    if exit_zero:
        return ExitCode.LOADS
    if fail_on == "warning" and any(found.severity == "warning" for found in report.findings):
        return ExitCode.FAILURE
    if report.verdict == "inconclusive" and is_cut_off(report.findings):
        return ExitCode.FAILURE
    return {
        "loads": ExitCode.LOADS,
        "loads-with-warnings": ExitCode.LOADS,
        "fails": ExitCode.FAILURE,
        "inconclusive": ExitCode.INCONCLUSIVE,
    }[report.verdict]


_OPTIONS = (
    click.option("--format", "format_name", type=click.Choice(formats.available()), help="Format; text by default."),
    click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
    click.option("-o", "--output", metavar="FILE", help="Write the report to FILE instead of standard output."),
    click.option(
        "--fail-on",
        type=click.Choice(["error", "warning"]),
        default="error",
        show_default=True,
        help="The least severity that gives exit code 1.",
    ),
    click.option("--exit-zero", is_flag=True, help="Exit with 0 instead of 1 and 3."),
    click.option("-v", "--verbose", is_flag=True, help="Also symptoms, notes, the traceback, what was collected."),
    color_option,
)


def reporting_options(command: _Command) -> Callable[..., int]:
    """Give ``command`` the options of a report, as one keyword argument ``reporting``."""

    @wraps(command)
    def with_reporting(
        format_name: str | None,
        as_json: bool,
        output: str | None,
        fail_on: FailOn,
        exit_zero: bool,
        verbose: bool,
        color: ColorChoice,
        **others: Any,
    ) -> int:
        if as_json and format_name not in (None, "json"):
            raise click.UsageError(f"--json and --format {format_name} contradict each other.")
        if output is not None:
            check_writable(output)
        name = "json" if as_json else format_name or "text"
        return command(reporting=Reporting(name, output, fail_on, exit_zero, verbose, color), **others)

    decorated: Callable[..., int] = with_reporting
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
