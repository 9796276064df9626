"""One line a model: how a scan of several shows what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from mlx_diagnose.engine.model import Report, Verdict
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View, home_relative

_STYLES = {"loads": "green", "loads-with-warnings": "yellow", "fails": "red", "inconclusive": "yellow"}
_WORDS = {
    "loads": "loads",
    "loads-with-warnings": "loads with warnings",
    "fails": "fails",
    "inconclusive": "inconclusive",
}


def scan_line(report: Report, view: View) -> str:
    """Verdict, model, and its first cause; as wide as it needs to be, so that it can be searched."""
    mark = {
        "loads": view.glyph("✓", "OK"),
        "loads-with-warnings": view.glyph("✓", "OK"),
        "fails": view.glyph("✗", "X"),
        "inconclusive": "?",
    }[report.verdict]
    said = f"{mark} {home_relative(one_line(report.target.model))}  {_WORDS[report.verdict]}"
    known = ", ".join(one_line(part) for part in (report.target.category, report.target.family) if part)
    told = f" ({known})" if known else ""
    causes = [found for found in report.findings if found.root and found.severity != "info"]
    if causes:
        more = f" (+{len(causes) - 1} more)" if len(causes) > 1 else ""
        told += f": {one_line(causes[0].failure_class)}: {one_line(causes[0].title)}{more}"
    return view.paint(said, _STYLES[report.verdict]) + told


def error_line(model: str, what: str, view: View) -> str:
    """The line of a model that could not be examined."""
    mark = view.glyph("✗", "X")
    return view.paint(f"{mark} {one_line(model)}  not examined", "red") + f": {one_line(what)}"


_PLURAL = {**_WORDS, "loads": "load", "loads-with-warnings": "load with warnings", "fails": "fail"}


def summary(verdicts: Iterable[Verdict], errors: int) -> str:
    """How many of which verdict."""
    counts: Counter[str] = Counter(verdicts)
    told = [
        f"{counts[verdict]} {(_WORDS if counts[verdict] == 1 else _PLURAL)[verdict]}"
        for verdict in _WORDS
        if counts[verdict]
    ]
    told += [f"{errors} not examined"] if errors else []
    total = sum(counts.values()) + errors
    return f"{total} model{'' if total == 1 else 's'}: {', '.join(told)}"


def scan_json(report: Report) -> dict[str, Any]:
    """The entry of a model in the JSON of a scan; the run has the rest."""
    return {
        "model": report.target.model,
        "verdict": report.verdict,
        "family": report.target.family,
        "category": report.target.category,
        "stage": next((stage.name for stage in report.stages if stage.status in ("failed", "blocked")), None),
        "causes": [
            {
                "failure_class": found.failure_class,
                "severity": found.severity,
                "title": found.title,
                "cause": found.cause,
                "subjects": [subject.name for subject in found.subjects],
                "fixes": [
                    {"title": fix.title, "applicability": fix.applicability, "command": fix.command}
                    for fix in found.fixes
                ],
            }
            for found in report.findings
            if found.root
        ],
        "seconds": report.timings.get("total"),
        "run": report.run_id if report.saved_at is not None else None,
        "error": None,
    }
