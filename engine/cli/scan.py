"""``diagnose scan MODEL...``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from mlx_diagnose import __version__
from mlx_diagnose.engine.cli._asking import (
    CATEGORIES,
    color_option,
    fail_on_option,
    no_plugins_option,
    online_option,
    rules_option,
)
from mlx_diagnose.engine.cli._diagnose import finite
from mlx_diagnose.engine.cli._output import StatusLine, check_writable, write
from mlx_diagnose.engine.cli._reporting import FailOn, exit_code
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.model import ExitCode, Verdict
from mlx_diagnose.engine.options import DEFAULT_TIMEOUT, Options
from mlx_diagnose.engine.report.view import ColorChoice, view_for


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@click.option("--category", type=click.Choice(CATEGORIES), help="What kind of models they are; found out by default.")
@online_option
@click.option("--only-static", is_flag=True, help="Look at files only; run nothing of mlx-audio.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds that each model may take.",
)
@click.option("--memory", type=click.IntRange(min=1), metavar="MB", help="Memory that the patient may take, in MB.")
@rules_option
@no_plugins_option
@click.option("--json", "as_json", is_flag=True, help="The results as JSON.")
@click.option("-o", "--output", metavar="FILE", help="Write the results to FILE instead of standard output.")
@fail_on_option
@click.option("--exit-zero", is_flag=True, help="Exit with 0 instead of 1 and 3.")
@color_option
def scan(
    models: tuple[str, ...],
    python: str | None,
    category: str | None,
    online: bool | None,
    only_static: bool,
    timeout: float,
    memory: int | None,
    rule_dirs: tuple[Path, ...],
    no_plugins: bool,
    as_json: bool,
    output: str | None,
    fail_on: FailOn,
    exit_zero: bool,
    color: ColorChoice,
) -> int:
    """Diagnose several models, one line each.

    MODEL is a hub id, a model directory, or a folder of such; without any, every model in the hub cache
    is diagnosed. Each is saved as a run, for `diagnose why`.

    Exits with the worst exit code of the models.
    """
    from mlx_diagnose.engine import runs
    from mlx_diagnose.engine import scan as scanning
    from mlx_diagnose.engine.report import scan_lines

    for word in models:
        check_model(word)
    if output is not None:
        check_writable(output)
    options = Options(
        model="",
        python=python,
        category=category,
        # The whole cache is looked at as it is, unless it is said otherwise.
        offline=(None if models else True) if online is None else not online,
        only_static=only_static,
        timeout=timeout,
        memory=None if memory is None else memory << 20,
        rule_dirs=rule_dirs,
        plugins=not no_plugins,
    )
    view = view_for(sys.stdout, color, False, os.environ)
    lines: list[str] = []
    entries: list[dict[str, Any]] = []
    verdicts: list[Verdict] = []
    codes: list[int] = []

    def told(line: str) -> None:
        lines.append(line)
        if not as_json and output is None:
            write(f"{line}\n", None)

    with StatusLine() as progress:
        for scanned in scanning.scan(scanning.models_of(models), options, progress):
            if scanned.error is not None:
                codes.append(scanned.error.exit_code)
                told(scan_lines.error_line(scanned.model, scanned.error.what, view))
                entries.append({"model": scanned.model, "verdict": None, "error": scanned.error.what})
            elif scanned.report is not None:
                report = runs.save(scanned.report)
                codes.append(exit_code(report, fail_on, exit_zero))
                verdicts.append(report.verdict)
                told(scan_lines.scan_line(report, view))
                entries.append(scan_lines.scan_json(report))
    code = scanning.worst(codes)
    if as_json:
        write(_document(entries, code), output)
    else:
        told(scan_lines.summary(verdicts, len(codes) - len(verdicts)))
        if output is not None:
            write("".join(f"{line}\n" for line in lines), output)
    return ExitCode(code)


def _document(entries: list[dict[str, Any]], code: int) -> str:
    from mlx_diagnose.engine.report import sanitise
    from mlx_diagnose.engine.report.json import SCHEMA_VERSION, clean

    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "diagnose", "version": __version__},
        "models": entries,
        "exit_code": int(code),
    }
    return json.dumps(clean(document, sanitise.tokens(os.environ)), indent=2, allow_nan=False) + "\n"
