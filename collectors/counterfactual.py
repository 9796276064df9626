"""Finds the one change of the config behind a failure, by trying changes and watching what fits.

Asserts a ``config_repair`` fact for the change that mends most; one that several do equally well
is asserted once, as not unique, with its alternatives named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mlx_diagnose.collectors import config_style, sensitivity, swapped_values
from mlx_diagnose.collectors.candidates import (
    Candidate,
    candidates,
    explained_otherwise,
    lacks_shards,
    layer_counts,
    taken_for_true,
)
from mlx_diagnose.collectors.config_edit import Edit, Path, dotted
from mlx_diagnose.collectors.trials import PARTIAL_SHARE, Outcome, Trials
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance, stage_index

#: Trials of one search at most; the time budget usually ends it first on large models.
MAX_TRIALS = 300
#: Once a change makes the model load, so many further ones, the likeliest left, may still prove it ambiguous.
RIVALS = 24


_ABSENT: Any = object()
_Trial: TypeAlias = tuple[Candidate, dict[str, Any], Outcome]


@dataclass(frozen=True, slots=True)
class Repair:
    """The best single edit found: what it makes of the config, how the load ends with it."""

    edit: Edit
    config: dict[str, Any]
    outcome: Outcome
    unique: bool


def search(
    config: Mapping[str, Any],
    memory: WorkingMemory,
    base: Outcome,
    trials: Trials,
    further: Callable[[], Iterable[Iterable[Candidate]]] = tuple,
) -> Repair | None:
    """Try changes of ``config``; assert and return the best that is better than ``base``.

    First what the facts suggest; if nothing of that loads, what shapes that move tell, two values exchanged, and
    group after group of ``further`` candidates, until one of a group loads.
    """
    tried = _try([*config_style.candidates(memory), *candidates(config, memory, base.run)], config, base, trials)
    if not any(outcome.settles(base) for _, _, outcome in tried):
        tried += _try(taken_for_true(memory), config, base, trials)
        tried += _refined(tried, config, memory, base, trials)
    mended = any(outcome.settles(base) for _, _, outcome in tried)
    if not mended and base.stage in ("load", None) and not explained_otherwise(memory):
        tried += _try(sensitivity.candidates(config, memory, base.run, trials), config, base, trials)
    if not any(outcome.settles(base) for _, _, outcome in tried):
        tried += _try(swapped_values.candidates(config, memory, base), config, base, trials)
    if not any(outcome.settles(base) for _, _, outcome in tried):
        for group in further():
            others = _try(group, config, base, trials)
            tried += others
            if any(outcome.settles(base) for _, _, outcome in others):
                break
    better = [
        (candidate, changed, outcome)
        for candidate, changed, outcome in tried
        if outcome.mends(base) or (not candidate.must_load and _better(outcome, base, lost=lacks_shards(memory)))
    ]
    if not better:
        return None
    rank = max(outcome.rank() for _, _, outcome in better)
    best = [entry for entry in better if entry[2].rank() == rank]
    candidate, changed, outcome = best[0]
    best += [entry for entry in _try(_nudged(candidate, config), config, base, trials) if entry[2].rank() == rank]
    # One and the same value may have been worked out in several ways.
    best = list({repr(entry[0].edit): entry for entry in reversed(best)}.values())[::-1]
    best = [entry for entry in best if not _renames_too(entry[0].edit, best, config)]
    _assert(memory, config, candidate, base, outcome, [other for other, _, _ in best[1:]], len(tried))
    return Repair(candidate.edit, changed, outcome, len(best) == 1)


def _renames_too(edit: Edit, best: Sequence[_Trial], config: Mapping[str, Any]) -> bool:
    """Whether ``edit`` writes under a name what another edit brings there by renaming the key that has it.

    So does one that renames a single key of those that another renames.
    """
    moves = [move for other, _, _ in best if other.edit != edit for move in other.edit.renamings]
    if edit.operation == "rename":
        return (edit.path, edit.to) in moves
    if edit.operation not in ("add", "replace") or isinstance(edit.value, bool):
        return False
    return any(to == edit.path and _at(config, path) == edit.value for path, to in moves)


def _better(outcome: Outcome, base: Outcome, *, lost: bool) -> bool:
    """As :meth:`Outcome.better`; where shards are ``lost``, tensors that are there and have another shape decide."""
    if not lost or outcome.stage != base.stage:
        return outcome.better(base)
    return _shapes(outcome) <= _shapes(base) * PARTIAL_SHARE and outcome.mismatches < base.mismatches


def _shapes(outcome: Outcome) -> int:
    """Tensors that have another shape than the model wants."""
    return int(outcome.run.tensors["counts"]["shape"]) if outcome.run.tensors is not None else 0


def _refined(
    tried: Sequence[_Trial], config: Mapping[str, Any], memory: WorkingMemory, base: Outcome, trials: Trials
) -> list[_Trial]:
    """Numbers that were put where none was, with the value that the shapes ask for."""
    refined: list[_Trial] = []
    for candidate, changed, outcome in tried:
        edit = candidate.edit
        if not _made_up(edit, config) or type(edit.value) is not int or outcome.run.tensors is None:
            continue
        if candidate.default is not None:
            # A default stood in: what the shapes say of it was among the candidates.
            continue
        counts = (
            Candidate(replace(edit, value=count), 1, evident)
            for count, evident in layer_counts(edit.value, outcome.run)
        )
        follow = sensitivity.candidates(changed, memory, outcome.run, trials, only=edit.path)
        shapes = (replace(found, edit=replace(edit, value=found.edit.value), default=None) for found in follow)
        refined += _try((*counts, *shapes), config, base, trials)
    return refined


def _made_up(edit: Edit, config: Mapping[str, Any]) -> bool:
    """Whether the value of ``edit`` stands where there was no number, or none that a size can be."""
    if edit.operation == "add":
        return True
    old = _value(config, edit)
    return edit.operation == "replace" and (
        old is None or isinstance(old, (bool, str, dict)) or (type(old) is int and old <= 0)
    )


def _nudged(candidate: Candidate, config: Mapping[str, Any]) -> list[Candidate]:
    """Other values for a number that was missing: if they do as well, the shapes do not tell which is right."""
    edit = candidate.edit
    if not _made_up(edit, config) or not isinstance(edit.value, (int, float)) or isinstance(edit.value, bool):
        return []
    return [Candidate(replace(edit, value=value), 0) for value in (edit.value + 1, edit.value * 2)]


def _try(found: Iterable[Candidate], config: Mapping[str, Any], base: Outcome, trials: Trials) -> list[_Trial]:
    tried: list[_Trial] = []
    left = MAX_TRIALS
    for candidate in found:
        if left == 0:
            break
        left -= 1
        try:
            changed = candidate.edit.apply(config)
        except (KeyError, IndexError, TypeError):
            continue
        outcome = trials.run(changed)
        if outcome is None:
            break
        tried.append((candidate, changed, outcome))
        if outcome.settles(base):
            left = min(left, RIVALS)
    return tried


def _assert(
    memory: WorkingMemory,
    config: Mapping[str, Any],
    candidate: Candidate,
    base: Outcome,
    outcome: Outcome,
    others: Sequence[Candidate],
    tried: int,
) -> None:
    edit = candidate.edit
    memory.add(
        "config_repair",
        Provenance("counterfactual", path=edit.dotted),
        path=edit.dotted,
        operation=edit.operation,
        old=_old(config, edit),
        new=_new(config, edit),
        new_path=dotted(edit.to) if edit.to is not None else None,
        default=None if candidate.default is None else json.dumps(candidate.default),
        mismatches_before=base.mismatches,
        mismatches_after=outcome.mismatches,
        shapes_before=_shapes(base),
        shapes_after=_shapes(outcome),
        loads=outcome.loads,
        stage_after=outcome.stage,
        clears_failure=outcome.mends(base) or stage_index(outcome.stage) > stage_index(base.stage),
        unique=not others,
        alternatives=", ".join(_words(other.edit) for other in others[:5]) or None,
        evidence=candidate.evidence,
        tried=tried,
    )


def _old(config: Mapping[str, Any], edit: Edit) -> str | None:
    value = _value(config, edit)
    return None if value is _ABSENT else json.dumps(value)


def _new(config: Mapping[str, Any], edit: Edit) -> str | None:
    if edit.operation == "swap":
        return json.dumps(_at(config, edit.to or ()))
    return None if edit.operation in ("rename", "restyle", "move", "remove") else json.dumps(edit.value)


def _value(config: Mapping[str, Any], edit: Edit) -> Any:
    """What ``config`` has at the path of ``edit``, or _ABSENT."""
    return _at(config, edit.path)


def _at(config: Mapping[str, Any], path: Path) -> Any:
    value: Any = config
    try:
        for part in path:
            value = value[part]
    except (KeyError, IndexError, TypeError):
        return _ABSENT
    return value


def _words(edit: Edit) -> str:
    if edit.operation == "restyle":
        return f"{len(edit.moves)} names in another style"
    if edit.to is not None:
        return f"{edit.dotted} {'with' if edit.operation == 'swap' else 'to'} {dotted(edit.to)}"
    return edit.dotted if edit.operation == "remove" else f"{edit.dotted} = {json.dumps(edit.value)}"
