"""``diagnose bundle``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import category_option, online_option
from mlx_diagnose.engine.cli._output import StatusLine, check_writable, write
from mlx_diagnose.engine.cli._reporting import Reporting, exit_code, reporting_options
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.model import ExitCode, UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.report.sanitise import one_line


@click.group()
def bundle() -> None:
    """Put a diagnosis into one file to send: report, facts, config, headers; no weights, no tokens."""


@bundle.command()
@click.argument("model")
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@category_option
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a hub model.")
@online_option
@click.option("--only-static", is_flag=True, help="Look at files only; run nothing of mlx-audio.")
@click.option("-o", "--output", metavar="FILE", help="The bundle; NAME.diagnose.zip here by default.")
def save(
    model: str,
    python: str | None,
    category: str | None,
    revision: str | None,
    online: bool | None,
    only_static: bool,
    output: str | None,
) -> int:
    """Diagnose MODEL and write the bundle.

    Exits as a diagnosis does.
    """
    from mlx_diagnose.engine import bundle_files, pipeline, runs

    check_model(model)
    name = re.sub(r"[^\w.-]", "-", model.rstrip("/").split("/")[-1]) or "model"
    path = output or f"{name}.diagnose.zip"
    check_writable(path)
    options = Options(
        model=model,
        python=python,
        category=category,
        revision=revision,
        offline=None if online is None else not online,
        only_static=only_static,
    )
    with StatusLine() as progress:
        report = runs.save(pipeline.diagnose(options, progress))
        progress("writing the bundle")
        try:
            bundle_files.write(Path(path), report)
        except OSError as error:
            raise UsageError(
                "not-written", f"{path} could not be written.", why=str(error), next_step="Give another FILE with -o."
            ) from None
    write(f"{path}\n", None)
    print(f"diagnose: {report.verdict}; look into {one_line(path)} before you send it", file=sys.stderr)
    return exit_code(report, "error", exit_zero=False)


@bundle.command("open")
@click.argument("file")
@reporting_options
def open_bundle(file: str, reporting: Reporting) -> int:
    """Show the report in the bundle FILE, as it was where it was made.

    `diagnose FILE` diagnoses its files and headers here.
    """
    from mlx_diagnose.engine import bundle_files

    return reporting.deliver(bundle_files.read(file).report)


@bundle.command()
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str) -> int:
    """Show what sets the bundles OLD and NEW apart.

    Exits with 0 if nothing does, else with 1.
    """
    from mlx_diagnose.engine import bundle_files
    from mlx_diagnose.engine.bundle_difference import differences

    lines = list(differences(bundle_files.read(old), bundle_files.read(new)))
    write("".join(f"{line}\n" for line in lines) or "no difference\n", None)
    return ExitCode.FAILURE if lines else ExitCode.LOADS
