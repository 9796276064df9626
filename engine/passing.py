"""The largest config that passes: the failing one with the smallest change after which it does not fail so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlx_diagnose.adapters.config_patch import apply_patch, patch_between
from mlx_diagnose.collectors import counterfactual
from mlx_diagnose.collectors.config_edit import Edit, Path
from mlx_diagnose.collectors.ddmin import ddmin
from mlx_diagnose.collectors.symptom import Symptom
from mlx_diagnose.collectors.trials import Trials, outcome_of
from mlx_diagnose.engine.attempts import Attempts
from mlx_diagnose.engine.examination import Examination
from mlx_diagnose.engine.model import stage_index

#: A config, and the stage at which it fails instead; None where it loads.
Passing = tuple[dict[str, Any], str | None]


def largest(
    config: Mapping[str, Any],
    reduced: Mapping[str, Any],
    symptom: Symptom,
    attempts: Attempts,
    examination: Examination,
) -> Passing | None:
    """A config that loads, or whose load gets past the stage of ``symptom``, as like ``config`` as was found.

    Asked in this order: ``config`` with one thing of ``reduced`` left out; with the one change that the
    facts suggest; with as little as possible of the family's known-good config.
    """
    found = list(_left_out(config, reduced, symptom, attempts))
    loads = next((entry for entry in found if entry[1] is None), None)
    if loads is not None:
        return loads
    repaired = _repaired(config, attempts, examination)
    if repaired is not None and repaired[1] is None:
        return repaired
    further = [entry for entry in (repaired, *found) if entry is not None]
    if further:
        return max(further, key=lambda entry: stage_index(entry[1]))
    return _between(config, symptom, attempts, examination)


def _left_out(
    config: Mapping[str, Any], reduced: Mapping[str, Any], symptom: Symptom, attempts: Attempts
) -> Iterator[Passing]:
    # The deepest first: the least is left out.
    for path in sorted(_paths(reduced), key=len, reverse=True):
        try:
            changed = Edit("remove", path).apply(config)
        except (KeyError, IndexError, TypeError):
            continue
        seen = attempts.config(changed)
        if _passes(seen, symptom):
            yield changed, None if seen is None else seen.stage
            if seen is None:
                return


def _paths(config: Any, path: Path = ()) -> Iterator[Path]:
    for key, value in config.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _paths(value, (*path, key))


def _passes(seen: Symptom | None, symptom: Symptom) -> bool:
    return seen is None or stage_index(seen.stage) > stage_index(symptom.stage)


def _repaired(config: Mapping[str, Any], attempts: Attempts, examination: Examination) -> Passing | None:
    """The single change that a diagnosis would find."""
    if attempts.process.ending is not None:
        return None
    trials = Trials(attempts.process, attempts.overlays, attempts.until, attempts.run)
    base = outcome_of(attempts.run, examination.directory)
    repair = counterfactual.search(config, examination.memory, base, trials)
    attempts.count += trials.count
    if repair is None or not (repair.outcome.loads or repair.outcome.rank()[0] > base.rank()[0]):
        return None
    return repair.config, repair.outcome.stage


def _between(
    config: Mapping[str, Any], symptom: Symptom, attempts: Attempts, examination: Examination
) -> Passing | None:
    """``config`` with the fewest differences from the known-good config of its family taken back."""
    from mlx_diagnose.knowledge_base.configurations import known_good

    resolution = examination.memory.one("resolution")
    entry = known_good(str(resolution["resolved"]), str(resolution["category"])) if resolution is not None else None
    if entry is None:
        return None
    good = entry.config()
    steps = patch_between(good, config)

    def taken_back(back: list[int]) -> dict[str, Any]:
        return apply_patch(good, [step for at, step in enumerate(steps) if at not in back])

    def passes(back: list[int]) -> bool:
        return _passes(attempts.config(taken_back(back)), symptom)

    everything = list(range(len(steps)))
    if not passes(everything):
        return None
    found = taken_back(ddmin(everything, passes))
    seen = attempts.config(found)
    return found, None if seen is None else seen.stage
