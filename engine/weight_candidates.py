"""Changes of the checkpoint's tensors that might mend a load, read off names, shapes and order.

Differences are told by what ``sanitize`` gave to the model, but operations apply to what is stored:
each candidate therefore has *ways*, the stored names or orders of axes that may lead there, and the
loader tells which does. Nothing here decides. A candidate whose passing would prove nothing
(several assignments fit; the model may need what is dropped) says so in ``doubt``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.series_gaps import wanted_in_vain
from mlx_diagnose.collectors.tensor_names import collapse, split_indices
from mlx_diagnose.collectors.tensor_renames import Renaming, tails_of
from mlx_diagnose.collectors.tensor_shifts import RENUMBERED
from mlx_diagnose.collectors.tensors import TensorTable, table_from_json
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.unplaced_tensors import unplaced
from mlx_diagnose.collectors.weights_difference import Difference
from mlx_diagnose.engine import weight_patterns
from mlx_diagnose.engine.rename_evidence import shapes, undecided
from mlx_diagnose.engine.weight_buffers import Buffer, by_doubt
from mlx_diagnose.engine.weight_layouts import movings
from mlx_diagnose.engine.weight_parts import Parting, partings
from mlx_diagnose.engine.weight_stacks import stackings
from mlx_diagnose.engine.weight_types import Casting

Operations: TypeAlias = tuple[Mapping[str, Any], ...]

#: Candidates, ways of one, and operations of a way that are tried at most.
MAX_CANDIDATES = 24
MAX_WAYS = 4
MAX_OPERATIONS = 200
#: Buffers that frameworks save and compute again: a model does not need them stored.
_BUFFERS = ("inv_freq", "position_ids", "num_batches_tracked", "total_ops", "total_params", "causal_mask")

AMBIGUOUS = "ambiguous: the shapes allow other assignments, and the names do not tell which is right"
NEEDED = (
    "it would hide a fault: these tensors belong to modules that the model has, so what the checkpoint was "
    "trained with is not what is built"
)


@dataclass(frozen=True, slots=True)
class WeightCandidate:
    """One change: what it is about (as the facts call it), its ways, how many tensors it moves, and any doubt."""

    operation: str
    subjects: tuple[str, ...]
    ways: tuple[Operations, ...]
    tensors: int
    wanted: str | None = None
    doubt: str | None = None


def weight_candidates(
    stored: TensorTable,
    difference: Difference | None,
    run: LoadRun,
    castings: Iterable[Casting],
    found: Iterable[Buffer],
) -> list[WeightCandidate]:
    """All candidates, those that explain most first; ``castings`` of tensors whose type MLX does not read,
    ``found``: buffers that it lacks."""
    if run.failed_stage == "weights":
        return list(_casts(stored, list(castings)))
    if difference is None or run.tensors is None:
        return [*_wrapped(stored), *_gaps(stored, run)]
    received, model = (table_from_json(run.tensors[name]) for name in ("sanitized", "model"))
    candidates = [
        *_renames(stored, difference, received, model),
        *_layouts(stored, difference, received, model),
        *_splits(stored, difference, received, model),
        *_stacks(stored, difference, received, model),
        *_drops(stored, difference, received, model),
        *_buffers(difference, found),
    ]
    return sorted(candidates, key=lambda candidate: (candidate.operation == "drop", -candidate.tensors))[
        :MAX_CANDIDATES
    ]


def _limited(ways: Iterator[Sequence[Mapping[str, Any]]]) -> tuple[Operations, ...]:
    kept: list[Operations] = []
    for way in ways:
        operations = tuple(way)
        if operations and len(operations) <= MAX_OPERATIONS and operations not in kept:
            kept.append(operations)
        if len(kept) == MAX_WAYS:
            break
    return tuple(kept)


# -- types ---------------------------------------------------------------------------------


def _casts(stored: TensorTable, found: Sequence[Casting]) -> Iterator[WeightCandidate]:
    """What MLX does not read as what it does: of all files at once, since the first that it refuses ends the load."""
    if not found:
        return
    steps = [
        step
        for casting in found
        for step in weight_patterns.on_names({"op": "cast", "dtype": casting.dtype}, casting.names, stored.keys())
    ]
    names = [name for casting in found for name in casting.names]
    files = tuple(dict.fromkeys(clean(str(stored[name].file)) for name in names))
    doubt = next((casting.doubt for casting in found if casting.doubt is not None), None)
    yield WeightCandidate("cast", files, _limited(iter([steps])), len(names), found[0].dtype, doubt)


# -- names ---------------------------------------------------------------------------------


def _wrapped(stored: TensorTable) -> Iterator[WeightCandidate]:
    """Before names could be compared: one first part that all tensors share may be a wrapper's."""
    first = {name.partition(".")[0] for name in stored}
    if len(first) == 1 and len(stored) > 1 and all("." in name for name in stored):
        pairs = {name: name.partition(".")[2] for name in stored}
        operations = weight_patterns.renames(pairs, stored.keys(), ())
        yield WeightCandidate("rename", (clean(next(iter(stored))),), (tuple(operations),), len(stored))


def _gaps(stored: TensorTable, run: LoadRun) -> Iterator[WeightCandidate]:
    """What sanitize wanted in vain, where another tensor has nearly that name; what it has no place for."""
    if run.failed_stage != "sanitize" or not run.chain:
        return
    raised = ExceptionDoc.from_json(run.chain[0])
    gaps = wanted_in_vain(stored, raised)
    pairs = {gap.stands_as: gap.name for gap in gaps}
    renames = {found: wanted for found, wanted in pairs.items() if found is not None}
    if renames:
        operations = weight_patterns.renames(renames, stored.keys(), ())
        subjects, wanted = tuple(clean(name) for name in renames), clean(next(iter(renames.values())))
        yield WeightCandidate("rename", subjects, _limited(iter([operations])), len(renames), wanted)
    name = unplaced(stored, raised) if not gaps else None
    if name is not None:
        beside = [other for other in stored if other != name and other.rpartition(".")[0] == name.rpartition(".")[0]]
        drop = weight_patterns.on_names({"op": "drop"}, [name], stored.keys())
        yield WeightCandidate("drop", (clean(name),), (tuple(drop),), 1, doubt=NEEDED if beside else None)


def _renames(
    stored: TensorTable, difference: Difference, received: TensorTable, model: TensorTable
) -> Iterator[WeightCandidate]:
    before = {now: old for old, now in difference.names.items()}
    unfit = {*difference.unexpected, *difference.shape}
    kept = {old for old, now in difference.names.items() if now not in unfit}
    for renaming in (*difference.renamings, *difference.lost):
        pairs = [(before.get(found, found), found, wanted) for found, wanted in renaming.pairs]
        known = [pair for pair in pairs if pair[0] in stored]
        # Of what sanitize changed as well the stored name may not be told; one prefix is the same in all.
        if len(known) == len(pairs) or (renaming.style.startswith("prefix") and 2 * len(known) >= len(pairs)):
            pairs = known
            ways = _limited(
                weight_patterns.renumberings(way)
                if renaming.style == RENUMBERED
                else weight_patterns.renames(way, stored.keys(), kept)
                for way in _stored_names(stored, renaming, pairs, difference)
            )
            found = shapes(received, difference.unexpected) or shapes(stored, (old for old, _ in renaming.pairs))
            unsure = renaming.ambiguous or (
                renaming.style in ("renamed", "suffix-replaced")
                and undecided(renaming.pairs, found, shapes(model, difference.missing))
            )
            if ways:
                yield WeightCandidate(
                    "rename",
                    (clean(renaming.found if renaming.style == RENUMBERED else renaming.pairs[0][0]),),
                    ways,
                    len(pairs),
                    clean(renaming.wanted),
                    AMBIGUOUS if unsure else None,
                )


def _stored_names(
    stored: TensorTable, renaming: Renaming, pairs: Sequence[tuple[str, str, str]], difference: Difference
) -> Iterator[dict[str, str]]:
    """What the tensors may have to be called in the file: the least change of the names they have first."""
    parts = renaming.found.split(".")
    if renaming.style == "prefix-added" and all(name.startswith(f"{renaming.found}.") for name in stored):
        # A wrapper of several parts around everything, of what sanitize renames as well.
        yield {name: name.removeprefix(f"{renaming.found}.") for name in stored}
    (wrapper, *others) = {name.partition(".")[0] for name in stored}
    if not others and renaming.style.startswith("prefix") and wrapper in parts:
        # One first part in all names is a wrapper's.
        yield {name: name.partition(".")[2] for name in stored if "." in name}
    if renaming.style == "prefix-added":
        # A wrapper may stand before a name that sanitize itself shortens: part after part is taken away.
        for count in range(1, len(parts)):
            taken = ".".join(parts[:count]) + "."
            if all(old.startswith(taken) for old, _, _ in pairs):
                yield {old: old.removeprefix(taken) for old, _, _ in pairs}
    usual = Counter(
        _change(old, now) for old, now in difference.names.items() if now != old and _change(old, now) is not None
    )
    changes = [change for change, _ in usual.most_common(3) if change is not None]
    own = {_change(old, found) for old, found, _ in pairs if old != found}
    ways: list[dict[str, str]] = []
    for before, after in [change for change in own if change is not None]:
        ways.append({old: _swapped(wanted, after, before) for old, _, wanted in pairs})
    ways.append({old: wanted for old, _, wanted in pairs})
    for before, after in changes:
        ways.append({old: _swapped(wanted, after, before) for old, _, wanted in pairs})
    if not own:
        # What sanitize does to the names of the others it will do to these; nearest to the stored name first.
        ways.sort(key=lambda way: -sum(_shared(old, new) for old, new in way.items()))
    for way in ways:
        if any(old != new for old, new in way.items()) and len(set(way.values())) == len(way):
            yield {old: new for old, new in way.items() if old != new}


def _change(old: str, now: str) -> tuple[str, str] | None:
    """The prefixes in which two names differ, None where their endings do too."""
    left, right = old.split("."), now.split(".")
    same = 0
    while same < min(len(left), len(right)) and left[-1 - same] == right[-1 - same]:
        same += 1
    if same == 0:
        return None
    return ".".join(left[: len(left) - same]), ".".join(right[: len(right) - same])


def _swapped(name: str, prefix: str, to: str) -> str:
    """``name`` with ``to`` in the place of ``prefix``; as it is where it does not begin so."""
    if prefix and name != prefix and not name.startswith(f"{prefix}."):
        return name
    rest = name[len(prefix) :].removeprefix(".") if prefix else name
    return f"{to}.{rest}" if to and rest else to or rest


def _shared(old: str, new: str) -> int:
    left, right = old.split("."), new.split(".")
    return next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), len(left))


# -- order of axes -------------------------------------------------------------------------


def _layouts(
    stored: TensorTable, difference: Difference, received: TensorTable, model: TensorTable
) -> Iterator[WeightCandidate]:
    for moving in movings(stored, difference, received, model):
        ways = (
            [
                operation
                for order, names in by_order.items()
                for operation in weight_patterns.on_names(
                    {"op": "transpose", "axes": list(order)}, names, stored.keys()
                )
            ]
            for by_order in moving.ways
        )
        yield WeightCandidate(
            "transpose", tuple(map(clean, moving.patterns)), _limited(ways), moving.tensors, doubt=moving.doubt
        )


# -- parts ---------------------------------------------------------------------------------


def _splits(
    stored: TensorTable, difference: Difference, received: TensorTable, model: TensorTable
) -> Iterator[WeightCandidate]:
    """Projections that are one tensor here and several there; those of one kind in all layers together."""
    alike: dict[tuple[Any, ...], list[Parting]] = {}
    for parting in partings(difference, received, model):
        owner = split_indices(parting.whole.rpartition(".")[0].rpartition("_")[0])[0]
        alike.setdefault((parting.operation, parting.doubt, owner), []).append(parting)
    for (operation, doubt, _), members in alike.items():
        # What is made may have to be called as it is in the model, or as sanitize calls its like before.
        swap = _change(members[0].stored, members[0].received)
        called = [
            members,
            [one.renamed(partial(_swapped, prefix=swap[1], to=swap[0])) for one in members] if swap else [],
        ]
        ways = (weight_patterns.on_parts([one.data for one in way], stored.keys()) for way in called)
        first = members[0]
        # What is made is the subject: what is stored may be the subject of a rename or a drop as well.
        subject, wanted = (first.parts[0], first.whole) if operation == "split" else (first.whole, first.parts[0])
        tensors = len(members) * len(members[0].parts)
        yield WeightCandidate(operation, (clean(subject),), _limited(ways), tensors, clean(wanted), doubt)


def _stacks(
    stored: TensorTable, difference: Difference, received: TensorTable, model: TensorTable
) -> Iterator[WeightCandidate]:
    """What the checkpoint holds one by one and the model as one: all of it at once."""
    found = list(stackings(difference, received, model))
    if found:
        first = found[0]
        swap = _change(first.members[0], first.received)
        called = [
            found,
            [one.renamed(partial(_swapped, prefix=swap[1], to=swap[0])) for one in found] if swap else [],
        ]
        ways = (
            weight_patterns.on_stacks([(one.members, one.place, one.whole) for one in way], stored.keys())
            for way in called
        )
        tensors = sum(len(one.members) for one in found)
        yield WeightCandidate("stack", (clean(first.whole),), _limited(ways), tensors, clean(first.members[0]))


# -- buffers -----------------------------------------------------------------------------


def _buffers(difference: Difference, found: Iterable[Buffer]) -> Iterator[WeightCandidate]:
    """What the model computes itself, where it is not stored: all of it at once."""
    usual = Counter(_change(old, now) for old, now in difference.names.items() if now != old)
    changes = [None, *(change for change, _ in usual.most_common(MAX_WAYS) if change is not None)]
    for doubt, members in by_doubt(found).items():
        names = [
            [_swapped(one.name, change[1], change[0]) if change else one.name for one in members] for change in changes
        ]
        ways = [
            [step for one, name in zip(members, called, strict=True) for step in one.operations(name)]
            for called in names
        ]
        groups = collapse((one.name, str(one.shape)) for one in members)
        subjects = tuple(clean(group.pattern) for group in groups[:MAX_CANDIDATES])
        yield WeightCandidate("add", subjects, _limited(iter(ways)), len(members), doubt=doubt)


# -- tensors too many ----------------------------------------------------------------------


def _drops(
    stored: TensorTable, difference: Difference, received: TensorTable, model: TensorTable
) -> Iterator[WeightCandidate]:
    """What the model has no place for, where it lacks nothing.

    Shapes may be off as well: a sanitize that tells layouts apart by names mistakes them for one name too many.
    """
    if difference.missing or not difference.unexpected:
        return
    before = {now: old for old, now in difference.names.items()}
    if difference.shape:
        # Then names are not told by shapes; what sanitize puts before them is the same for all.
        for now in difference.unexpected:
            old = next((tail for tail in tails_of(now) if tail in stored), None)
            if old is not None:
                before[now] = old
    names = [before[name] for name in difference.unexpected if name in before]
    if len(names) < len(difference.unexpected):
        return
    # By the names in the file: what sanitize puts before them may be the name of the whole model.
    parts = {old.partition(".")[0] for old, now in difference.names.items() if now in model}
    modules = {name.rpartition(".")[0] for name in model} | {
        name.rpartition(".")[0].rpartition(".")[0] for name in model
    }
    apart = all(
        name.rpartition(".")[2] in _BUFFERS or (name.partition(".")[0] not in parts and not _inside(now, modules))
        for name, now in zip(names, difference.unexpected, strict=True)
    )
    groups = collapse((name, str(received[name].shape)) for name in difference.unexpected)
    yield WeightCandidate(
        "drop",
        tuple(clean(group.pattern) for group in groups[:MAX_CANDIDATES]),
        _limited(iter([weight_patterns.on_names({"op": "drop"}, names, stored.keys())])),
        len(names),
        doubt=None if apart else NEEDED,
    )


def _inside(name: str, modules: set[str]) -> bool:
    """The tensor's module stands in one that the model has, deeper than at the top."""
    owner = name.rpartition(".")[0].rpartition(".")[0]
    return "." in owner and owner in modules
