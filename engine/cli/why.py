"""``diagnose why RUN FINDING``."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import color_option, no_plugins_option, read_rules, rules_option, screen, show
from mlx_diagnose.engine.model import Finding, Report, UsageError
from mlx_diagnose.engine.report.view import ColorChoice


@click.command()
@click.argument("run")
@click.argument("finding")
@rules_option
@no_plugins_option
@color_option
def why(run: str, finding: str, rule_dirs: tuple[Path, ...], no_plugins: bool, color: ColorChoice) -> None:
    """Show the proof of a finding, down to file, line and config path.

    RUN is the id of a run, `last`, or a report file; FINDING an id such as f1.
    """
    from mlx_diagnose.engine import runs
    from mlx_diagnose.engine.inference import explain
    from mlx_diagnose.engine.report.proof import proof_lines

    report = runs.load(run)
    found = _finding(report, finding)
    proof = explain.why(found, report.facts, read_rules(rule_dirs, no_plugins))
    show(proof_lines(found, proof, report, screen(color)))


def _finding(report: Report, name: str) -> Finding:
    for found in report.findings:
        if found.id == name:
            return found
    known = ", ".join(found.id for found in report.findings)
    raise UsageError(
        "no-such-finding",
        f"Run {report.run_id} has no finding {name!r}.",
        why="" if known else "It has no findings at all.",
        next_step=f"Its findings: {known}." if known else "",
    )
