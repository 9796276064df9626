"""What every format shows of a report: roots with the symptoms under them, fixes in the order of their proof."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlx_diagnose.engine.model import Finding, Fix, Report
from mlx_diagnose.engine.report.sanitise import one_line

_ORDER = ("verified", "unverified", "manual")
_PLACE = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+)(?::(?P<column>\d+))?$")


def roots(report: Report) -> Iterator[tuple[Finding, Sequence[Finding]]]:
    """The root causes in the order of the report, each with the findings folded under it."""
    by_id = {found.id: found for found in report.findings}
    for found in report.findings:
        if found.root:
            yield found, [by_id[id] for id in found.explains if id in by_id]


def ordered_fixes(found: Finding) -> list[Fix]:
    """The fixes of a finding, the proven ones first."""
    return sorted(found.fixes, key=lambda fix: _ORDER.index(fix.applicability))


def about(found: Finding) -> list[str]:
    """Stage, confidence and circumstances of a finding, in words."""
    parts = [f"at {one_line(found.stage)}"] if found.stage else []
    if found.confidence > 0:
        parts.append(f"{found.confidence:.0%} sure")
    if found.observed_after:
        parts.append(f"seen after fix {', '.join(map(one_line, found.observed_after))}")
    return parts


def place(found: Finding) -> tuple[str, int, int] | None:
    """File, line and column (from 1) that the excerpt of a finding shows."""
    first = (found.excerpt or "").split("\n", 1)[0].strip()
    match = _PLACE.fullmatch(first)
    return (match["file"], int(match["line"]), int(match["column"] or 1)) if match else None
