"""Tensors that the checkpoint lacks though it has their like: ``experts.7.gate_proj.weight`` where 0 to 6 have one.

Where ``sanitize`` joins such tensors into one (mlx-lm stacks the experts of a layer), it reads each by its
name and raises before names are compared with the model's. What it raised says which it wanted: a
``KeyError`` by the name itself, other exceptions by a path in their text. Names are told as they are
stored, since ``sanitize`` may have taken a prefix away.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.tensor_names import collapse, split_indices
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: A dotted name with a number in it, as it may stand in a message.
_PATH = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)+(?![\w.])")
#: Likeness (0 to 100) of two names, their punctuation aside, from which one may stand for the other.
_ALIKE = 85
#: Gaps of one failure that are told.
_MAX_GAPS = 20


@dataclass(frozen=True, slots=True)
class Gap:
    """``name`` is lacking among ``siblings``, whose names differ from it in one number; a name alone has none.

    ``stands_as`` is a tensor of their shape with no siblings of its own, whose name is nearly this one. ``beyond``:
    the series ends before this number, and the part of the name that counts (``experts``) is this.
    """

    name: str
    siblings: tuple[str, ...]
    stands_as: str | None = None
    beyond: str | None = None


def wanted_in_vain(stored: TensorTable, raised: ExceptionDoc) -> list[Gap]:
    """What ``stored`` lacks of that which sanitize, by the exception ``raised``, wanted."""
    exactly = raised.is_a("KeyError")
    key = raised.attribute("key") or raised.message.strip().strip("\"'")
    paths = [key] if exactly else _PATH.findall(raised.message)
    named = [path.split(".") for path in paths if "." in path]
    found = [gap for gap in _gaps(stored) if any(_speaks_of(path, gap.name.split("."), exactly) for path in named)]
    if not found and exactly and named and not any(name.endswith(key) or key.endswith(name) for name in stored):
        single = [name for name in stored if not any(map(str.isdecimal, name.split(".")))]
        found = [_beyond(stored, key) or Gap(key, (), _nearest(key, single))]
    return found[:_MAX_GAPS]


def collect(memory: WorkingMemory, stored: TensorTable, raised: ExceptionDoc) -> None:
    """Assert a tensor_gap for each tensor that sanitize wanted in vain."""
    frame = raised.innermost
    for gap in wanted_in_vain(stored, raised):
        siblings = [found.pattern for found in collapse((name, ()) for name in gap.siblings)]
        memory.add(
            "tensor_gap",
            Provenance("series_gaps", path=clean(gap.name)),
            name=clean(gap.name),
            siblings=clean(siblings[0]) if siblings else "none",
            count=len(gap.siblings),
            stands_as=clean(gap.stands_as) if gap.stands_as is not None else None,
            beyond=clean(gap.beyond) if gap.beyond else None,
            file=frame.file if frame else None,
            line=frame.line if frame else None,
        )


def _speaks_of(path: Sequence[str], name: Sequence[str], exactly: bool) -> bool:
    """``path`` is the name, but for a prefix of either; or, in a text, its parts stand in the name in their order."""
    shorter = min(len(path), len(name))
    if path[-shorter:] == name[-shorter:]:
        return True
    parts = iter(name)
    numbered = any(part.isdecimal() for part in path)
    return not exactly and numbered and all(part in parts for part in path)


def _gaps(stored: TensorTable) -> Iterator[Gap]:
    """Names that would complete a series in which few of many are lacking."""
    series: dict[tuple[tuple[str, ...], tuple[int, ...], int], set[int]] = {}
    rows: dict[tuple[tuple[str, ...], tuple[int, ...]], set[int]] = {}
    for name in stored:
        texts, indices = split_indices(name)
        for position, index in enumerate(indices):
            others = (*indices[:position], *indices[position + 1 :])
            series.setdefault((texts, others, position), set()).add(index)
            # What stands beside, under the same numbers up to here: the other tensors of the same modules.
            rows.setdefault((texts[: position + 1], indices[:position]), set()).add(index)
    alone = [name for name in stored if not _has_siblings(name, series)]
    for (texts, others, position), present in series.items():
        beside = rows[(texts[: position + 1], others[:position])]
        lacking = sorted((beside | set(range(max(present)))) - present)
        if len(present) < 2 or not lacking or len(lacking) > max(1, len(present) // 2):
            continue
        names = {index: _name(texts, others, position, index) for index in (*present, *lacking)}
        siblings = tuple(names[index] for index in sorted(present))
        shapes = {stored[name].shape for name in siblings}
        for index in lacking:
            fitting = [name for name in alone if stored[name].shape in shapes]
            yield Gap(names[index], siblings, _nearest(names[index], fitting))


def _beyond(stored: TensorTable, key: str) -> Gap | None:
    """``key`` as one that comes after the last of a series."""
    texts, indices = split_indices(key)
    for position, index in enumerate(indices):
        present = {}
        for name in stored:
            others, numbers = split_indices(name)
            alike = others[1:] == texts[1:] and others[0].endswith(texts[0])
            if alike and (*numbers[:position], *numbers[position + 1 :]) == (
                *indices[:position],
                *indices[position + 1 :],
            ):
                present[numbers[position]] = name
        if present and max(present) < index:
            return Gap(key, tuple(present.values()), beyond=texts[position].strip(".").rpartition(".")[2])
    return None


def _name(texts: tuple[str, ...], others: tuple[int, ...], position: int, index: int) -> str:
    indices = (*others[:position], index, *others[position:])
    return "".join(text + str(number) for text, number in zip(texts, indices, strict=False)) + texts[-1]


def _has_siblings(name: str, series: dict[tuple[tuple[str, ...], tuple[int, ...], int], set[int]]) -> bool:
    texts, indices = split_indices(name)
    return any(
        len(series[(texts, (*indices[:position], *indices[position + 1 :]), position)]) > 1
        for position in range(len(indices))
    )


def _nearest(name: str, others: Sequence[str]) -> str | None:
    """The one of ``others`` that is ``name`` but for punctuation and a few letters; None if two are as near."""
    ranked = sorted(((fuzz.ratio(_plain(name), _plain(other)), other) for other in others), reverse=True)
    if not ranked or ranked[0][0] < _ALIKE or (len(ranked) > 1 and ranked[1][0] == ranked[0][0]):
        return None
    return ranked[0][1]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
