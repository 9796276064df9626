"""What the model wants against what it gets, at the moment of ``load_weights``.

``mlx.nn.Module.load_weights`` names, when strict, the unexpected tensors or else the missing
ones or else the first of another shape, and never all three; when not strict it says nothing.
Here all of it is worked out from names and shapes, and put in terms of a cause where there is
one: another name, another order of axes, another number of layers, something that
``sanitize`` took away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from mlx_diagnose.collectors.sanitize_losses import find_losses
from mlx_diagnose.collectors.tensor_layouts import find_layouts
from mlx_diagnose.collectors.tensor_names import Collapsed, collapse, split_indices
from mlx_diagnose.collectors.tensor_renames import Renaming, align, find_renamings, with_prefixes_alone
from mlx_diagnose.collectors.tensor_shifts import RENUMBERED, find_shifts
from mlx_diagnose.collectors.tensors import TensorInfo, TensorTable, shape_text
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("weights_difference")

#: Facts of one kind; what is left out is counted in the fact ``weights_difference``.
MAX_FACTS = 200


#: Status, expected and received shape of tensors that differ alike.
_Group: TypeAlias = Collapsed[tuple[str, str | None, str | None]]

#: The texts of a name up to one of its numbers.
_Stem: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Names by how they fail to fit, in the order of their tables, and the renamings that would mend them.

    ``lost``: renamings among what sanitize took away, by names in the file; ``names``: what each
    stored tensor is called after sanitize, as far as can be told.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()
    matched: int = 0
    renamings: tuple[Renaming, ...] = field(default=(), repr=False)
    lost: tuple[Renaming, ...] = field(default=(), repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)


def collect(
    memory: WorkingMemory,
    *,
    stored: TensorTable,
    sanitized: TensorTable | None,
    model: TensorTable | None,
    strict: bool,
    raised: bool,
    counts: Mapping[str, int] | None = None,
) -> Difference:
    """Assert how the tensors given to the model differ from those it has.

    ``stored``: as the headers say; ``sanitized``: as given to ``load_weights``, None where the
    load did not come so far or nothing sanitises (``stored`` then stands for it); ``model``:
    its parameters at that moment, after quantisation, None where it was not reached: then only
    what sanitize took away is told. ``counts`` are those of the probe
    (missing, unexpected, shape, matched), which knows what fitted even where it left that
    out of large tables; then nothing is concluded from absence.
    """
    received = stored if sanitized is None else sanitized
    difference = Difference() if model is None else compare(received, model)
    matched = difference.matched if counts is None else counts["matched"]
    whole = matched == difference.matched
    names = align(stored, received) if whole else {name: name for name in stored}
    lost: Sequence[Renaming] = ()
    if model is not None:
        groups = _groups(difference, received, model)
        _differences(memory, groups, stored, received)
        _summary(memory, difference, groups, received, model, matched, strict=strict, raised=raised)
        lost = _lost_renamings(stored, model, difference, names) if whole else ()
        _renames(memory, difference, lost)
        _layouts(memory, difference, stored, received, model, names)
        if whole:
            _layers(memory, difference, received, model)
    if sanitized is not None:
        _losses(memory, stored, sanitized, model, names)
    return replace(difference, lost=tuple(lost), names=names)


def compare(received: TensorTable, model: TensorTable) -> Difference:
    """``received`` tensors against the ``model``'s, by name and shape, with renamings."""
    missing = {name: info for name, info in model.items() if name not in received}
    unexpected = {name: info for name, info in received.items() if name not in model}
    shape = tuple(name for name, info in model.items() if name in received and received[name].shape != info.shape)
    shifts = find_shifts(received, model) if missing and unexpected else []
    shifted = [{pair[side] for renaming in shifts for pair in renaming.pairs} for side in (0, 1)]
    found, wanted = (
        {name: info for name, info in table.items() if name not in taken}
        for table, taken in zip((unexpected, missing), shifted, strict=True)
    )
    return Difference(
        tuple(missing),
        tuple(unexpected),
        shape,
        len(model) - len(missing) - len(shape),
        (*shifts, *with_prefixes_alone(find_renamings(found, wanted), found, wanted)),
    )


def _groups(difference: Difference, received: TensorTable, model: TensorTable) -> list[_Group]:
    """All that differs, collapsed; the key is status, expected and received shape."""

    def rows() -> Iterable[tuple[str, tuple[str, str | None, str | None]]]:
        for name in difference.missing:
            yield name, ("missing", shape_text(model[name].shape), None)
        for name in difference.unexpected:
            yield name, ("unexpected", None, shape_text(received[name].shape))
        for name in difference.shape:
            yield name, ("shape", shape_text(model[name].shape), shape_text(received[name].shape))

    return collapse(rows())


def _differences(memory: WorkingMemory, groups: Iterable[_Group], stored: TensorTable, received: TensorTable) -> None:
    told: dict[str, int] = defaultdict(int)
    for group in groups:
        status, expected, given = group.key
        told[status] += 1
        if told[status] > MAX_FACTS:
            continue
        holder = received.get(group.example) or stored.get(group.example)
        file = holder.file if holder is not None else None
        if file is None and group.example in stored:
            file = stored[group.example].file
        memory.add(
            "tensor_difference",
            Provenance("weights_difference", file=file, path=clean(group.pattern)),
            tensor=clean(group.pattern),
            status=status,
            count=group.count,
            expected=expected,
            received=given,
            component=clean(group.example.partition(".")[0]),
            suffix=clean(group.example.rpartition(".")[2]),
            example=clean(group.example),
            file=clean(file) if file is not None else None,
        )


def _summary(
    memory: WorkingMemory,
    difference: Difference,
    groups: Sequence[_Group],
    received: TensorTable,
    model: TensorTable,
    matched: int,
    *,
    strict: bool,
    raised: bool,
) -> None:
    statuses = [group.key[0] for group in groups]
    kinds = sorted(set(statuses))
    memory.add(
        "weights_difference",
        _HERE,
        missing=len(difference.missing),
        unexpected=len(difference.unexpected),
        shape=len(difference.shape),
        matched=matched,
        strict=strict,
        raised=raised,
        quantized_suffixes_only=bool(groups)
        and all(
            _of_quantization(name, received, model)
            for name in (*difference.missing, *difference.unexpected, *difference.shape)
        ),
        single=len({group.pattern for group in groups}) == 1,
        only=kinds[0] if len(kinds) == 1 else "mixed" if kinds else "none",
        omitted=sum(max(0, statuses.count(kind) - MAX_FACTS) for kind in kinds),
        part_absent=_part_absent(difference.missing, received),
    )


def _part_absent(missing: Iterable[str], received: TensorTable) -> str | None:
    """The part of the model that all missing tensors belong to, if the checkpoint has nothing of it."""
    parts = {name.partition(".")[0] for name in missing}
    if len(parts) != 1:
        return None
    (part,) = parts
    return None if any(name.partition(".")[0] == part for name in received) else clean(part)


def _of_quantization(name: str, received: TensorTable, model: TensorTable) -> bool:
    """``name`` is scales, biases, or a weight that is packed on one side."""
    if name.endswith((".scales", ".biases")):
        return True
    return any(name in table and table[name].dtype == "uint32" for table in (received, model))


def _lost_renamings(
    stored: TensorTable, model: TensorTable, difference: Difference, names: Mapping[str, str]
) -> Sequence[Renaming]:
    """Renamings among what sanitize took away: one that keeps only names it knows drops misnamed tensors unseen."""
    lost = {name: info for name, info in stored.items() if name not in names}
    given = {wanted for renaming in difference.renamings for _, wanted in renaming.pairs}
    # What sanitize drops under the very name that the model has is not renamed.
    missing = {name: model[name] for name in difference.missing if name not in lost and name not in given}
    return find_renamings({name: info for name, info in lost.items() if name not in model}, missing) if missing else ()


def _renames(memory: WorkingMemory, difference: Difference, lost: Sequence[Renaming]) -> None:
    renamings = [*difference.renamings, *lost]
    unexpected = len(difference.unexpected) or sum(len(renaming.pairs) for renaming in lost)
    sides = set(difference.unexpected), set(difference.missing)
    for renaming in sorted(renamings, key=lambda renaming: -len(renaming.pairs))[:MAX_FACTS]:
        count = len(renaming.pairs)
        # Of a series that is numbered anew most names are there on both sides.
        beyond, lacking = (
            (sum(pair[side] in names for pair in renaming.pairs) for side, names in enumerate(sides))
            if renaming.style == RENUMBERED
            else (count, count)
        )
        memory.add(
            "tensor_rename",
            _HERE,
            style=renaming.style,
            found=clean(renaming.found),
            wanted=clean(renaming.wanted),
            count=count,
            share_of_missing=round(lacking / len(difference.missing), 4),
            share_of_unexpected=round(beyond / unexpected, 4),
            example_found=clean(renaming.pairs[0][0]),
            example_wanted=clean(renaming.pairs[0][1]),
            ambiguous=renaming.ambiguous,
        )


def _layouts(
    memory: WorkingMemory,
    difference: Difference,
    stored: TensorTable,
    received: TensorTable,
    model: TensorTable,
    names: Mapping[str, str],
) -> None:
    before = {now: old for old, now in names.items()}
    layouts = find_layouts(received, model, difference.shape)
    everything = len(layouts) == len(difference.shape)
    rows = []
    for layout in layouts:
        source = stored.get(before.get(layout.name, layout.name))
        expected, given = model[layout.name].shape, received[layout.name].shape
        moved = source is not None and source.shape == expected
        original = shape_text(source.shape) if source is not None else None
        rows.append((layout.name, (layout.permutation, shape_text(expected), shape_text(given), original, moved)))
    for group in collapse(rows)[:MAX_FACTS]:
        permutation, expected_text, given_text, original, moved = group.key
        memory.add(
            "tensor_layout",
            Provenance("weights_difference", path=clean(group.pattern)),
            tensor=clean(group.pattern),
            permutation=str(permutation),
            expected=expected_text,
            received=given_text,
            stored=original,
            sanitize_transposed=moved,
            count=group.count,
            all_shape_differences=everything,
        )


def _layers(memory: WorkingMemory, difference: Difference, received: TensorTable, model: TensorTable) -> None:
    # A list whose names are found to be others is still the same list.
    other_names: dict[_Stem, _Stem] = {}
    for renaming in difference.renamings:
        for found, wanted in () if renaming.ambiguous else renaming.pairs:
            left, right = split_indices(found)[0], split_indices(wanted)[0]
            if len(left) == len(right):
                other_names.update({left[:depth]: right[:depth] for depth in range(1, len(left))})
    in_model, in_checkpoint = _lists(model, {}), _lists(received, other_names)
    counted: dict[str, tuple[int, int]] = {}
    for stem in in_model.keys() & in_checkpoint.keys():
        shorter, longer = sorted((sorted(in_model[stem]), sorted(in_checkpoint[stem])), key=len)
        # Numbers that are left out in the middle, or at the start, are no other number of layers.
        if len(shorter) < len(longer) and longer[: len(shorter)] == shorter:
            counted[stem] = (len(in_model[stem]), len(in_checkpoint[stem]))
    stems = collapse((stem, counted[stem]) for stem in in_model if stem in counted)
    for group in stems[:MAX_FACTS]:
        memory.add("layers_absent", _HERE, stem=clean(group.pattern), in_model=group.key[0], in_checkpoint=group.key[1])


def _lists(names: Iterable[str], other_names: Mapping[_Stem, _Stem]) -> dict[str, set[int]]:
    """The numbers that follow each stem, under its other name if it has one.

    ``layers.3.experts.5.w`` gives ``{"layers": {3}, "layers.3.experts": {5}}``.
    """
    lists: dict[tuple[_Stem, tuple[int, ...]], set[int]] = defaultdict(set)
    for name in names:
        texts, indices = split_indices(name)
        for depth, index in enumerate(indices):
            lists[texts[: depth + 1], indices[:depth]].add(index)
    stems: dict[str, set[int]] = {}
    for (texts, indices), numbers in lists.items():
        texts = other_names.get(texts, texts)
        stem = texts[0] + "".join(f"{index}{text}" for index, text in zip(indices, texts[1:], strict=True))
        stems.setdefault(stem.removesuffix("."), set()).update(numbers)
    return stems


def _losses(
    memory: WorkingMemory,
    stored: TensorTable,
    sanitized: TensorTable,
    model: TensorTable | None,
    names: Mapping[str, str],
) -> None:
    losses = find_losses(stored, sanitized, model, names)
    rows = ((loss.name, (loss.metadata, loss.wanted)) for loss in losses)
    groups = sorted(collapse(rows), key=lambda group: (not group.key[0], not group.key[1]))
    for group in groups[:MAX_FACTS]:
        metadata, wanted = group.key
        memory.add(
            "sanitize_loss",
            Provenance("weights_difference", file=_file(stored[group.example]), path=clean(group.pattern)),
            pattern=clean(group.pattern),
            suffix=clean(group.example.rpartition(".")[2]),
            count=group.count,
            quantization_metadata=metadata,
            wanted=wanted,
        )


def _file(info: TensorInfo) -> str | None:
    return clean(info.file) if info.file is not None else None
