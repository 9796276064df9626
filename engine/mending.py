"""Puts fixes together: the smallest set of them with which a load comes farthest.

What helped alone is added one by one, the most helpful first, as long as the load comes farther;
in the end each is left out once, so that none stays that the others make unnecessary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch
from mlx_diagnose.adapters.weight_operations import WeightMapError
from mlx_diagnose.collectors.trials import Outcome
from mlx_diagnose.engine.bench import Bench
from mlx_diagnose.engine.model import Finding, Fix
from mlx_diagnose.engine.verification import Found, family_of, helps, leads_on, tries


@dataclass(frozen=True, slots=True)
class Step:
    """A fix that helped, and how far the load came with it alone."""

    fix: Fix
    outcome: Outcome

    @property
    def size(self) -> int:
        # What changes the model's own files comes before what changes the program that loads it.
        return (
            len(self.fix.config_patch)
            + len(self.fix.weight_map)
            + len(self.fix.copies)
            + 1000 * (self.fix.shim is not None)
        )


@dataclass(frozen=True, slots=True)
class Mend:
    """Fixes that were put together, what they make of the config, and how the load ended with them."""

    fixes: tuple[Fix, ...]
    config: dict[str, Any]
    operations: tuple[Mapping[str, Any], ...]
    outcome: Outcome

    @property
    def copies(self) -> Mapping[str, str]:
        """Files that are taken from elsewhere."""
        return copies_of(self.fixes)


def shims_of(fixes: Iterable[Fix]) -> tuple[str, ...]:
    """The loader shims of ``fixes``, each once."""
    return tuple(dict.fromkeys(fix.shim for fix in fixes if fix.shim))


def copies_of(fixes: Iterable[Fix]) -> dict[str, str]:
    """The files that ``fixes`` take from elsewhere."""
    return {name: path for fix in fixes for name, path in fix.copies.items()}


def steps(
    findings: Iterable[Finding], config: Mapping[str, Any], base: Outcome, bench: Bench, found: Found
) -> list[Step]:
    """The fixes of ``findings`` with which the load came farther than ``base``, the best and smallest first.

    Of changes of the config that are neither verified nor the best one found, those that merely
    make a later stage fail are left out: behind a guess lies nothing of the user's. A family is
    no guess where no other is proposed or loads, unless most tensors do not fit with it.
    """
    findings = list(findings)
    families = {family_of(fix) for finding in findings for fix in finding.fixes if tries(fix)} - {None}
    told = len(families) == 1 and not (found.repair is not None and found.repair.outcome.loads)
    best = found.repair.config if found.repair is not None else None
    helpful: list[Step] = []
    for fix in (fix for finding in findings for fix in finding.fixes if tries(fix)):
        try:
            changed = apply_patch(config, fix.config_patch)
            outcome = bench.run(changed, fix.weight_map, shims_of([fix]), fix.copies)
        except (PatchError, WeightMapError):
            continue
        if outcome is None or outcome.rank() <= base.rank() or found.doubt(fix) is not None:
            continue
        leads = told and leads_on(fix) and _fits_mostly(outcome)
        sure = fix.applicability == "verified" or helps(fix) or changed == best or leads
        if fix.weight_map or fix.shim or fix.copies or sure:
            helpful.append(Step(fix, outcome))
    return sorted(helpful, key=lambda step: (*(-part for part in step.outcome.rank()), step.size))


def _fits_mostly(outcome: Outcome) -> bool:
    tensors = outcome.run.tensors
    return tensors is None or tensors["counts"]["matched"] >= outcome.mismatches


def compose(helpful: Sequence[Step], config: Mapping[str, Any], bench: Bench) -> Mend | None:
    """The best of ``helpful`` with all others that bring the load farther still, or None without any."""
    mend: Mend | None = None
    for step in helpful:
        if mend is not None and mend.outcome.loads:
            break
        try:
            changed = apply_patch(mend.config if mend else config, step.fix.config_patch)
            operations = (*(mend.operations if mend else ()), *step.fix.weight_map)
            shims = shims_of([*(mend.fixes if mend else ()), step.fix])
            outcome = bench.run(changed, operations, shims, copies_of([*(mend.fixes if mend else ()), step.fix]))
        except (PatchError, WeightMapError):
            continue
        if outcome is not None and (mend is None or outcome.rank() > mend.outcome.rank()):
            mend = Mend((*(mend.fixes if mend else ()), step.fix), changed, operations, outcome)
    return mend


def smallest(fixes: Sequence[Fix], config: Mapping[str, Any], bench: Bench) -> tuple[Fix, ...]:
    """Those of ``fixes``, which together load, without which it does not; tried on the original ``config``."""
    kept = list(fixes)
    for fix in fixes:
        rest = [other for other in kept if other is not fix]
        if not rest:
            break
        try:
            changed: Mapping[str, Any] = config
            for other in rest:
                changed = apply_patch(changed, other.config_patch)
            operations = [step for other in rest for step in other.weight_map]
            outcome = bench.whole(changed, operations, shims_of(rest), copies_of(rest))
        except (PatchError, WeightMapError):
            continue
        if outcome is not None and outcome.loads:
            kept = rest
    return tuple(kept)
