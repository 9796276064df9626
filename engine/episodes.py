"""What one load after another told, and what a later one takes back of what an earlier one said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.engine import verification
from mlx_diagnose.engine.examination import Examination
from mlx_diagnose.engine.model import Explains, Fact, Finding, StageResult
from mlx_diagnose.engine.rulebase import failure_classes


@dataclass(frozen=True)
class Episode:
    """One load, what was seen of it, and what was concluded."""

    examination: Examination
    run: LoadRun
    stages: Sequence[StageResult]
    findings: list[Finding]
    facts: Sequence[Fact]


def superseded(episodes: Sequence[Episode], findings: Sequence[Finding]) -> list[Episode]:
    """``episodes`` without what ``findings`` tell again with a fix that could not be tried, or did not help, before:
    behind another fault a fix may mend what it could not mend alone."""
    again = {key(finding) for finding in findings if any(verification.tries(fix) for fix in finding.fixes)}
    return [
        replace(
            episode,
            findings=[
                finding
                for finding in episode.findings
                if key(finding) not in again or any(fix.applicability == "verified" for fix in finding.fixes)
            ],
        )
        for episode in episodes
    ]


def overtaken(episodes: Sequence[Episode], examination: Examination) -> list[Episode]:
    """``episodes`` without what was foretold of companions that this load has come to: it tells of them itself."""
    reached = {fact["name"] for fact in examination.memory.of("companion") if not fact["ahead"]}
    left = []
    for episode in episodes:
        foretold = {
            fact.id for fact in episode.facts if fact.kind == "companion" and fact["ahead"] and fact["name"] in reached
        }
        kept = [finding for finding in episode.findings if not foretold & set(finding.evidence)]
        left.append(replace(episode, findings=kept))
    return left


def key(finding: Finding) -> tuple[Any, ...]:
    return (finding.rule, finding.failure_class, finding.subjects)


def settled(episodes: list[Episode], shimmed_at: int | None) -> list[Episode]:
    """Where going on without Metal showed another failure, that one is the model's; the missing
    Metal is a limit of this machine, and a warning. The stages are then those of the load that went on."""
    if shimmed_at is None:
        return episodes
    behind = any(finding.severity == "error" for episode in episodes[shimmed_at + 1 :] for finding in episode.findings)
    if not behind:
        return episodes
    shown = list(episodes)
    limited = episodes[shimmed_at]
    shown[shimmed_at] = replace(
        limited,
        stages=episodes[shimmed_at + 1].stages,
        findings=[
            _demoted(finding, limited.findings) if finding.failure_class == "dependency/backend" else finding
            for finding in limited.findings
        ],
    )
    return shown


def _demoted(finding: Finding, shown: Sequence[Finding]) -> Finding:
    """A limit of the machine as a warning: of what it claims to explain it keeps what showed with it,
    since what was seen behind it has causes of its own."""
    claims = tuple(
        Explains(other.failure_class, subject.name)
        for other in shown
        if other is not finding
        for subject in other.subjects
        if any(failure_classes.covers(claim.failure_class, other.failure_class) for claim in finding.claims)
    )
    return replace(finding, severity="warning", claims=claims)
