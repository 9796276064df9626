"""Tries fixes that set variables of the environment: a load in a process of its own that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mlx_diagnose.collectors.trials import Outcome
from mlx_diagnose.engine.model import Finding, Fix, stage_index

#: Processes that are started for it at most.
MAX_TRIED = 2
LOADS = "tried in a process with these variables: it loads (loading is proven, not sound)"

#: One load with variables; None where it could not be made.
Load = Callable[[Mapping[str, str]], Outcome | None]


def try_environments(findings: Iterable[Finding], base: Outcome, load: Load) -> list[Finding]:
    """The findings with the variables that their fixes set tried; those that do not help are gone."""
    known: dict[tuple[tuple[str, str], ...], Outcome | None] = {}

    def tried(fix: Fix) -> Fix | None:
        if not fix.environment or fix.applicability != "unverified":
            return fix
        key = tuple(sorted(fix.environment.items()))
        if key not in known:
            if len(known) == MAX_TRIED:
                return fix
            known[key] = load(fix.environment)
        return _judged(fix, base, known[key])

    return [
        replace(finding, fixes=tuple(fix for fix in map(tried, finding.fixes) if fix is not None))
        for finding in findings
    ]


def _judged(fix: Fix, base: Outcome, outcome: Outcome | None) -> Fix | None:
    if outcome is None:
        return replace(fix, reason="not tried: the process did not come to an end")
    if outcome.loads:
        return replace(fix, applicability="verified", reason=LOADS)
    if stage_index(outcome.stage) > stage_index(base.stage):
        said = f"tried in a process with these variables: {base.stage} passes; what fails next is {outcome.stage}"
        return replace(fix, applicability="verified", reason=said)
    return None
