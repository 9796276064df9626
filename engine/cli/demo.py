"""``diagnose demo``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import screen
from mlx_diagnose.engine.cli._output import StatusLine
from mlx_diagnose.engine.cli._reporting import Reporting, reporting_options
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.report.sanitise import one_line


@click.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@reporting_options
def demo(directory: Path | None, python: str | None, reporting: Reporting) -> int:
    """Make a broken specimen of a real family here, offline, and diagnose it.

    It is made in DIRECTORY, or among temporary files. The exit code is 1: the model is broken.
    """
    from mlx_diagnose.engine import demo, pipeline

    try:
        specimen = demo.make(directory or Path(tempfile.mkdtemp(prefix="diagnose-demo-")))
    except OSError as error:
        raise UsageError(
            "no-specimen",
            f"The specimen cannot be written to {error.filename or directory}.",
            why=f"Reason: {error.strerror or error}.",
            next_step="Give another directory: diagnose demo DIRECTORY.",
        ) from None
    for line in screen("auto", sys.stderr).fold(one_line(specimen.story)):
        print(line, file=sys.stderr)
    options = Options(model=str(specimen.path), python=python, category="tts")
    with StatusLine() as progress:
        report = pipeline.diagnose(options, progress)
    return reporting.deliver(report)
