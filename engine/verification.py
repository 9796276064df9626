"""Tries the prescribed changes of config and weights and says what was proven of each.

A fix is *verified* only if a scratch copy with it went through the patient's own loader, the
failing stage passed, no earlier one regressed, and no other change of the same size does as
well. A change that does not help is refuted, and not recommended. Loading is what is proven;
that the model sounds right is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch
from mlx_diagnose.adapters.weight_operations import WeightMapError
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.trials import Outcome
from mlx_diagnose.engine.bench import Bench
from mlx_diagnose.engine.model import Finding, Fix, stage_index
from mlx_diagnose.engine.weight_repairs import WeightRepair

#: Keys that choose the family: every value that names one passes the stage that a wrong one failed.
_TYPE_KEYS = ("/model_type", "/architecture")
#: The class of findings on a model that loads whose fixes are tried.
_TYPES = "config/wrong-type"
LOADS = "tried on a copy: it loads (loading is proven, not sound)"
TOGETHER = "tried on a copy together with the other fixes: it loads (loading is proven, not sound)"
_GHOSTS = "; names, types and shapes of its weights were real, their values were not read"
_LAYOUT_SHIM = "sanitize-keeps-layout"
_HELPS = "it helps, but "
_ANY_FAMILY = "ambiguous: any family passes "
_NOT_AGAIN = "it passed in a live session, but not in a fresh process"
_SPENT = "not tried: the time for trials was spent"
_VALUES = "not proven: the model reads values of the weights while it loads"
_REWRITTEN = "; its weights were really rewritten for it, values included"


@dataclass(frozen=True, slots=True)
class Found:
    """The best changes that trials came upon: of the config, and of the weights."""

    repair: Repair | None = None
    weights: Sequence[WeightRepair] = ()

    def doubt(self, fix: Fix) -> str | None:
        """Why a weight map that passes proves nothing, if the search has a doubt."""
        for found in self.weights:
            if fix.shim == _LAYOUT_SHIM and found.candidate.operation == "transpose" and found.doubt is not None:
                return found.doubt
            if found.doubt is not None and any(step in fix.weight_map for step in found.operations):
                return found.doubt
        return None


def tries(fix: Fix) -> bool:
    """Whether a copy of the model can be made in which the fix is tried."""
    return fix.applicability != "manual" and bool(fix.config_patch or fix.weight_map or fix.shim or fix.copies)


def verify(
    findings: Iterable[Finding], config: Mapping[str, Any], base: Outcome, bench: Bench, found: Found
) -> list[Finding]:
    """The findings with their fixes tried; refuted fixes are gone."""
    return [
        replace(
            finding,
            fixes=tuple(fix for fix in (_tried(fix, config, base, bench, found) for fix in finding.fixes) if fix),
        )
        for finding in findings
    ]


def wants_loads(findings: Iterable[Finding]) -> bool:
    """Whether of a model that loads something is told that :func:`still_loading` tries."""
    return any(finding.failure_class == _TYPES and any(map(tries, finding.fixes)) for finding in findings)


def still_loading(findings: Iterable[Finding], config: Mapping[str, Any], base: Outcome, bench: Bench) -> list[Finding]:
    """The findings on a model that loads, of each value of a wrong type the first fix with which it loads as well."""
    return [
        replace(finding, fixes=_loading(finding.fixes, config, base, bench))
        if finding.failure_class == _TYPES
        else finding
        for finding in findings
    ]


def _loading(fixes: Sequence[Fix], config: Mapping[str, Any], base: Outcome, bench: Bench) -> tuple[Fix, ...]:
    left: list[Fix] = []
    for fix in fixes:
        if not tries(fix):
            left.append(fix)
            continue
        try:
            outcome = bench.run(apply_patch(config, fix.config_patch))
        except PatchError as error:
            left.append(replace(fix, reason=f"not tried: the patch does not fit config.json ({error})"))
            continue
        if outcome is not None and outcome.rank() >= base.rank():
            return (replace(fix, applicability="verified", reason=LOADS),)
        if outcome is None:
            left.append(replace(fix, reason=_SPENT))
    return tuple(left)


def _tried(fix: Fix, config: Mapping[str, Any], base: Outcome, bench: Bench, found: Found) -> Fix | None:
    if not tries(fix):
        return fix
    try:
        changed = apply_patch(config, fix.config_patch)
        outcome = bench.run(changed, fix.weight_map, [fix.shim] if fix.shim else [], fix.copies)
    except PatchError as error:
        return replace(fix, reason=f"not tried: the patch does not fit config.json ({error})")
    except WeightMapError as error:
        return replace(fix, reason=f"not tried: the weight map does not fit the checkpoint ({error})")
    if outcome is None:
        return replace(fix, reason=_SPENT)
    if outcome.run.value_read is not None:
        why = bench.why_not_rewritten if fix.weight_map else None
        return replace(fix, reason=f"{_VALUES}, and {why}" if why else _VALUES)
    doubt = found.doubt(fix)
    ghosts = "" if not fix.weight_map else _REWRITTEN if outcome.rewritten else _GHOSTS
    if not outcome.mends(base) and stage_index(outcome.stage) <= stage_index(base.stage):
        if outcome.stage == base.stage and outcome.mismatches < base.mismatches:
            if not outcome.mismatches and doubt is None and stage_index(base.stage) > stage_index("load"):
                return replace(fix, applicability="verified", reason=f"{_fitting(outcome, base)}{ghosts}")
            helps = f"{_HELPS}{outcome.mismatches} of {base.mismatches} tensors still do not fit"
            return replace(fix, reason=doubt or helps)
        return None
    if doubt is not None:
        return replace(fix, reason=doubt)
    repair = found.repair
    if repair is not None and fix.config_patch and repair.config == changed and not repair.unique:
        return replace(fix, reason="ambiguous: another change of the same size also passes")
    if outcome.mends(base):
        return replace(fix, applicability="verified", reason=f"{_fits(outcome, base)}{ghosts}")
    if family_of(fix) is not None:
        return replace(fix, reason=f"{_ANY_FAMILY}{base.stage}; with this one {outcome.stage} fails next")
    if outcome.mismatches and any(_adds_number(step) for step in fix.config_patch):
        # Where a number was missing, any lets the model be built; only the shapes tell the right one.
        misfit = f"with this one {outcome.mismatches} tensors do not fit"
        return replace(fix, reason=f"ambiguous: any number passes {base.stage}; {misfit}")
    return replace(
        fix,
        applicability="verified",
        reason=f"tried on a copy: {base.stage} passes with it; what fails next is {outcome.stage}{ghosts}",
    )


def _fits(outcome: Outcome, base: Outcome) -> str:
    """What was seen of a copy that loads."""
    if not base.loads:
        return LOADS
    return f"{LOADS}, and {base.mismatches - outcome.mismatches} of {base.mismatches} tensors that did not fit now do"


def _fitting(outcome: Outcome, base: Outcome) -> str:
    """What was seen of a copy whose load fills everything, and which fails later for another reason."""
    return (
        f"tried on a copy: all {base.mismatches} tensors that did not fit do with it; what fails is {outcome.stage}, "
        "for another reason"
    )


def _adds_number(step: Mapping[str, Any]) -> bool:
    return step.get("op") == "add" and type(step.get("value")) is int


def helps(fix: Fix) -> bool:
    """It was tried, and made more of the tensors fit without mending the stage."""
    return fix.applicability == "unverified" and (fix.reason or "").startswith(_HELPS)


def family_of(fix: Fix) -> str | None:
    """The family, or the type, that a change of the config chooses; None where it chooses none."""
    return next((str(step.get("value")) for step in fix.config_patch if step.get("path") in _TYPE_KEYS), None)


def leads_on(fix: Fix) -> bool:
    """It chose a family, and with that the load came farther without passing: the family alone proves nothing."""
    return fix.applicability == "unverified" and (fix.reason or "").startswith(_ANY_FAMILY)


def confirmed(findings: Iterable[Finding], outcome: Outcome, used: Collection[str]) -> list[Finding]:
    """The findings after all mends were loaded together once more, in a fresh process.

    If that loads, fixes that only helped or led on alone and are among those ``used`` (ids) are verified as a
    set; if it does not, nothing that the live session showed is called verified.
    """
    return [
        replace(finding, fixes=tuple(_confirmed(fix, outcome, used) for fix in finding.fixes)) for finding in findings
    ]


def _confirmed(fix: Fix, outcome: Outcome, used: Collection[str]) -> Fix:
    if outcome.loads:
        if (helps(fix) or leads_on(fix)) and fix.id in used:
            return replace(fix, applicability="verified", reason=f"{TOGETHER}{_GHOSTS if fix.weight_map else ''}")
        return fix
    if fix.applicability == "verified" and tries(fix):
        return replace(fix, applicability="unverified", reason=_NOT_AGAIN)
    return fix
