"""``diagnose reduce MODEL``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import category_option, color_option, online_option
from mlx_diagnose.engine.cli._diagnose import finite
from mlx_diagnose.engine.cli._output import StatusLine, write
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.model import ExitCode
from mlx_diagnose.engine.options import DEFAULT_TIMEOUT, Options
from mlx_diagnose.engine.report.view import ColorChoice, view_for


@click.command()
@click.argument("model")
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@category_option
@online_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds that it may take in all.",
)
@click.option("--memory", type=click.IntRange(min=1), metavar="MB", help="Memory that the patient may take, in MB.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the reproduction goes; NAME-reduced here by default.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Also parts of parts.")
@color_option
def reduce(
    model: str,
    python: str | None,
    category: str | None,
    online: bool | None,
    timeout: float,
    memory: int | None,
    out: Path | None,
    as_json: bool,
    verbose: bool,
    color: ColorChoice,
) -> int:
    """Shrink a failing config to the smallest that fails in the same way.

    Shows it beside the largest config that passes, builds the model part by part, and writes a
    script that reproduces the failure, which is run once to see that it does.

    Exits with 0 if the model loads, 1 if its failure was reduced, 2 for wrong usage, 3 if it could not be.
    """
    from mlx_diagnose.engine import emission, reduction_report
    from mlx_diagnose.engine.reduction import begin
    from mlx_diagnose.engine.reduction import reduce as reduce_model

    check_model(model)
    options = Options(
        model=model,
        python=python,
        category=category,
        offline=None if online is None else not online,
        timeout=timeout,
        memory=None if memory is None else memory << 20,
    )
    with StatusLine() as progress:
        progress("loading the model lazily")
        with begin(options) as attempts:
            folder = emission.folder_for(attempts.located, out)
            reduction = reduce_model(attempts, progress)
            emitted = None
            if reduction.reduced is not None or reduction.raw is not None or reduction.without_config:
                progress("writing the reproduction, and running it")
                emitted = emission.emit(reduction, attempts, folder)
    if as_json:
        write(reduction_report.to_json(reduction, emitted), None)
    else:
        write(reduction_report.text(reduction, emitted, view_for(sys.stdout, color, verbose, os.environ)), None)
    if reduction.symptom is None:
        return ExitCode.LOADS
    return ExitCode.FAILURE if emitted is not None else ExitCode.INCONCLUSIVE
