"""Tries the prescribed changes of the config and says what was proven of each.

A fix is *verified* only if a scratch copy with it went through the patient's own loader, the
failing stage passed, no earlier one regressed, and no other change of the same size does as
well. A change that does not help is refuted, and not recommended. Loading is what is proven;
that the model sounds right is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.trials import Outcome, Trials
from mlx_diagnose.engine.model import Finding, Fix, stage_index

#: Keys that choose the family: every value that names one passes the stage that a wrong one failed.
_TYPE_KEYS = ("/model_type", "/architecture")
LOADS = "tried on a copy: it loads (loading is proven, not sound)"
TOGETHER = "tried on a copy together with the other fixes: it loads (loading is proven, not sound)"
_HELPS = "it helps, but "
_NOT_AGAIN = "it passed in a live session, but not in a fresh process"
_SPENT = "not tried: the time for trials was spent"


def verify(
    findings: Iterable[Finding],
    config: Mapping[str, Any],
    base: Outcome,
    trials: Trials,
    repair: Repair | None,
) -> list[Finding]:
    """The findings with their config patches tried; refuted fixes are gone."""
    return [
        replace(
            finding,
            fixes=tuple(fix for fix in (_tried(fix, config, base, trials, repair) for fix in finding.fixes) if fix),
        )
        for finding in findings
    ]


def _tried(fix: Fix, config: Mapping[str, Any], base: Outcome, trials: Trials, repair: Repair | None) -> Fix | None:
    if not fix.config_patch or fix.applicability != "unverified":
        return fix
    try:
        changed = apply_patch(config, fix.config_patch)
    except PatchError as error:
        return replace(fix, reason=f"not tried: the patch does not fit config.json ({error})")
    outcome = trials.run(changed)
    if outcome is None:
        return replace(fix, reason=_SPENT)
    if not outcome.loads and stage_index(outcome.stage) <= stage_index(base.stage):
        if outcome.stage == base.stage and outcome.mismatches < base.mismatches:
            return replace(fix, reason=f"{_HELPS}{outcome.mismatches} of {base.mismatches} tensors still do not fit")
        return None
    if repair is not None and repair.config == changed and not repair.unique:
        return replace(fix, reason="ambiguous: another change of the same size also passes")
    if outcome.loads:
        return replace(fix, applicability="verified", reason=LOADS)
    if any(step.get("path") in _TYPE_KEYS for step in fix.config_patch):
        return replace(
            fix, reason=f"ambiguous: any family passes {base.stage}; with this one {outcome.stage} fails next"
        )
    if outcome.mismatches and any(_adds_number(step) for step in fix.config_patch):
        # Where a number was missing, any lets the model be built; only the shapes tell the right one.
        misfit = f"with this one {outcome.mismatches} tensors do not fit"
        return replace(fix, reason=f"ambiguous: any number passes {base.stage}; {misfit}")
    return replace(
        fix,
        applicability="verified",
        reason=f"tried on a copy: {base.stage} passes with it; what fails next is {outcome.stage}",
    )


def _adds_number(step: Mapping[str, Any]) -> bool:
    return step.get("op") == "add" and type(step.get("value")) is int


def confirmed(findings: Iterable[Finding], outcome: Outcome) -> list[Finding]:
    """The findings after all mends were loaded together once more, in a fresh process.

    If that loads, fixes that only helped alone are verified as a set; if it does not, nothing
    that the live session showed is called verified.
    """
    return [replace(finding, fixes=tuple(_confirmed(fix, outcome) for fix in finding.fixes)) for finding in findings]


def _confirmed(fix: Fix, outcome: Outcome) -> Fix:
    if outcome.loads:
        if fix.reason is not None and fix.reason.startswith(_HELPS):
            return replace(fix, applicability="verified", reason=TOGETHER)
        return fix
    if fix.applicability == "verified":
        return replace(fix, applicability="unverified", reason=_NOT_AGAIN)
    return fix
