"""``diagnose bisect MODEL``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_diagnose.engine.cli._asking import category_option, color_option, online_option
from mlx_diagnose.engine.cli._diagnose import finite
from mlx_diagnose.engine.cli._output import StatusLine, write
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.model import ExitCode
from mlx_diagnose.engine.options import DEFAULT_TIMEOUT, Options
from mlx_diagnose.engine.report.view import ColorChoice, view_for

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet


def _range(_context: click.Context, _parameter: click.Parameter, value: str | None) -> SpecifierSet | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if value is None:
        return None
    try:
        return SpecifierSet(value)
    except InvalidSpecifier:
        raise click.BadParameter(f"{value} is no range of releases, such as '>=0.2,<0.5'.") from None


@click.command()
@click.argument("model")
@click.option(
    "--releases",
    "wanted",
    callback=_range,
    metavar="RANGE",
    help="Those to look among, such as '>=0.2,<0.5'; by default all that may know the model.",
)
@click.option("--python", metavar="PY", help="The Python to make environments of; ours by default.")
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="An extra of mlx-audio; may be given again.")
@click.option("--with", "more", multiple=True, metavar="REQ", help="One more requirement; may be given again.")
@category_option
@online_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds that each load may take.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where environments are made and removed again; beside the saved runs by default.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@color_option
def bisect(
    model: str,
    wanted: SpecifierSet | None,
    python: str | None,
    extras: tuple[str, ...],
    more: tuple[str, ...],
    category: str | None,
    online: bool | None,
    timeout: float,
    folder: Path | None,
    as_json: bool,
    color: ColorChoice,
) -> int:
    """Find the release of mlx-audio from which a model loads, or no longer does.

    Each release that is tried is installed into an environment of its own, which is removed
    afterwards; yours is not touched. The installer's variables and index are used as they are.

    Exits with 0 if it loads with all that were tried, 1 if a change was found, 2 for wrong usage,
    3 if it loads with none.
    """
    from mlx_diagnose.collectors.interpreter import choose
    from mlx_diagnose.engine import bisection, bisection_report
    from mlx_diagnose.engine.runs import home

    check_model(model)
    options = Options(model, category=category, offline=None if online is None else not online, timeout=timeout)
    folder = folder if folder is not None else home() / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    base = choose(python).executable if python else sys.executable
    with StatusLine() as progress:
        found = bisection.bisect(options, base, wanted, extras, more, folder, progress)
    if as_json:
        write(bisection_report.to_json(found), None)
    else:
        write(bisection_report.text(found, view_for(sys.stdout, color, False, os.environ)), None)
    if found.changes:
        return ExitCode.FAILURE
    return ExitCode.LOADS if any(one.loads for one in found.tried) else ExitCode.INCONCLUSIVE
