"""``--fix``, ``--out`` and ``--diff``: the options, and what the command returns with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from mlx_diagnose.engine.cli._errors import show_error
from mlx_diagnose.engine.model import DiagnoseError, ExitCode, Report
from mlx_diagnose.engine.options import Options

_Command = TypeVar("_Command", bound=Callable[..., int])

_OPTIONS = (
    click.option("--fix", is_flag=True, help="Write the verified fixes as a mended copy of the model, and load it."),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where the mended copy goes; beside the model by default.",
    ),
    click.option("--diff", is_flag=True, help="Show all that --fix would write, and write nothing."),
)


@dataclass(frozen=True, slots=True)
class Fixing:
    """What is to be done about verified fixes."""

    fix: bool
    out: Path | None
    diff: bool

    def check(self, options: Options) -> None:
        """Raise UsageError for what cannot be carried out: better now than after the diagnosis."""
        if self.out is not None and not (self.fix or self.diff):
            raise click.UsageError("--out says where --fix writes; give both.")
        if (self.fix or self.diff) and options.only_static:
            raise click.UsageError("--only-static runs nothing, so no fix can be verified; leave out one of the two.")
        if self.out is not None:
            from mlx_diagnose.engine import fixing

            fixing.check_out(options, self.out)

    def carry_out(
        self, report: Report, options: Options, progress: Callable[[str], None]
    ) -> tuple[Report, DiagnoseError | None]:
        """``report`` with its fixes written or shown, as asked; and why they could not be written."""
        if not (self.fix or self.diff):
            return report, None
        from mlx_diagnose.engine import fixing

        if self.diff:
            return fixing.show_fixes(report, options, self.out, progress), None
        return fixing.write_fixes(report, options, self.out, progress)

    def code(self, report: Report, refused: DiagnoseError | None, otherwise: int) -> int:
        """The exit code, for a report that was handed over; an error is shown after it."""
        if refused is not None:
            return show_error(refused)
        if not self.fix or self.diff or report.written is None:
            return otherwise
        return ExitCode.LOADS if report.written.loads else ExitCode.NO_VERIFIED_FIX


def fixing_options(command: _Command) -> Callable[..., int]:
    """Give ``command`` the options, as one keyword argument ``fixing``."""

    @wraps(command)
    def with_fixing(fix: bool, out: Path | None, diff: bool, **others: Any) -> int:
        return command(fixing=Fixing(fix, out, diff), **others)

    decorated: Callable[..., int] = with_fixing
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
