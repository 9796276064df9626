"""Tries what might mend the tensors of a checkpoint, and asserts what made more of them fit.

Each ``weight_repair`` fact was tried alone, on the patient's own loader: the copy has the changed
names, types and shapes over holes, so it costs milliseconds, however large the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.adapters.weight_operations import WeightMapError
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.trials import Outcome
from mlx_diagnose.engine.bench import Bench
from mlx_diagnose.engine.examination import Examination
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance, stage_index
from mlx_diagnose.engine.vocabulary import MAX_TEXT
from mlx_diagnose.engine.weight_buffers import MAX_NAMES, Buffer, buffers
from mlx_diagnose.engine.weight_candidates import Operations, WeightCandidate, weight_candidates
from mlx_diagnose.engine.weight_types import castings

_DOMINATED = "ambiguous: another change loads and uses more of the checkpoint"
_EQUAL = "ambiguous: another change of the same size also passes"


@dataclass(frozen=True, slots=True)
class WeightRepair:
    """A candidate with the way that helped most, and how the load ended with it."""

    candidate: WeightCandidate
    operations: Operations
    outcome: Outcome
    doubt: str | None


def search(examination: Examination, base: Outcome, bench: Bench, repair: Repair | None) -> list[WeightRepair]:
    """Try the candidates of a failed load one by one; assert and return those that help, the best first.

    ``repair`` is the best change of the config: what it does as well or better casts doubt.
    """
    config, checkpoint = examination.config, examination.checkpoint
    if config is None or checkpoint is None or stage_index(base.stage) < stage_index("weights"):
        return []
    helpful = []
    types = castings(checkpoint.table, config, checkpoint.directory, ghost=bench.ghost)
    for candidate in weight_candidates(
        checkpoint.table, examination.difference, base.run, types, _own(examination, base, bench)
    ):
        best = _best_way(candidate, config, base, bench)
        if best is not None:
            helpful.append((candidate, *best))
    # The same operations may have been read off two differences.
    loading = list({json.dumps(steps): outcome.rank() for _, steps, outcome in helpful if outcome.mends(base)}.values())
    if repair is not None and repair.outcome.mends(base):
        loading.append(repair.outcome.rank())
    found = []
    for candidate, operations, outcome in helpful:
        doubt = candidate.doubt
        if outcome.mends(base) and doubt is None and any(rank > outcome.rank() for rank in loading):
            doubt = _DOMINATED
        elif outcome.mends(base) and doubt is None and loading.count(outcome.rank()) > 1:
            doubt = _EQUAL
        found.append(WeightRepair(candidate, operations, outcome, doubt))
    found.sort(key=lambda one: (*(-part for part in one.outcome.rank()), len(one.operations)))
    for one in found:
        _assert(examination.memory, one, base)
    return found


def _own(examination: Examination, base: Outcome, bench: Bench) -> list[Buffer]:
    """Buffers that the checkpoint lacks, and that every new model has alike."""
    difference = examination.difference
    if difference is None or base.directory is None or base.loads or not difference.missing:
        return []
    renamed = {wanted for renaming in (*difference.renamings, *difference.lost) for _, wanted in renaming.pairs}
    names = [name for name in difference.missing if name not in renamed]
    if not names or len(names) > MAX_NAMES:
        return []
    return buffers(bench.trials.own_values(base.directory, names))


def _best_way(
    candidate: WeightCandidate, config: Mapping[str, Any], base: Outcome, bench: Bench
) -> tuple[Operations, Outcome] | None:
    """The way that comes farthest; of equals the first, which changes least. None if none comes farther.

    Where nothing does, one at which the model's code read a value: what it does with the right ones is not known.
    """
    best: tuple[Operations, Outcome] | None = None
    unread: tuple[Operations, Outcome] | None = None
    for operations in candidate.ways:
        if any(len(json.dumps([step])) > MAX_TEXT for step in operations):
            continue
        try:
            outcome = bench.run(config, operations)
        except WeightMapError:
            continue
        if outcome is None:
            break
        if outcome.run.value_read is not None:
            unread = unread or (operations, outcome)
            continue
        if outcome.rank() > (best[1] if best is not None else base).rank():
            best = operations, outcome
        if outcome.mends(base):
            break
    return best or unread


def _assert(memory: WorkingMemory, found: WeightRepair, base: Outcome) -> None:
    for subject in found.candidate.subjects:
        for part, text in enumerate(_chunks(found.operations)):
            _assert_part(memory, subject, part, text, found, base)


def _chunks(operations: Operations) -> Iterator[str]:
    """The operations as JSON texts of a fact's length."""
    start = 0
    while start < len(operations):
        end = start + 1
        while end < len(operations) and len(json.dumps(operations[start : end + 1])) <= MAX_TEXT:
            end += 1
        yield json.dumps(operations[start:end])
        start = end


def _assert_part(memory: WorkingMemory, subject: str, part: int, text: str, found: WeightRepair, base: Outcome) -> None:
    candidate, outcome = found.candidate, found.outcome
    memory.add(
        "weight_repair",
        Provenance("counterfactual", path=subject),
        operation=candidate.operation,
        subject=subject,
        wanted=candidate.wanted,
        part=part,
        operations=text,
        tensors=candidate.tensors,
        mismatches_before=base.mismatches,
        mismatches_after=outcome.mismatches,
        loads=outcome.loads,
        clears_failure=outcome.mends(base) or stage_index(outcome.stage) > stage_index(base.stage),
        stage_after=outcome.stage,
        unique=found.doubt is None,
        doubt=found.doubt,
    )
