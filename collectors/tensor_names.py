"""Names of tensors with their layers collapsed: ``layers.{0..31}.q_proj.weight``.

A checkpoint has few distinct names and many layers. A collapsed name stands for exactly the
tensors that :func:`expand` gives back, and all of them are alike: what has another shape or
type, or whatever else the caller counts as a difference, gets a name of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Generic, TypeAlias, TypeVar

Key = TypeVar("Key", bound=Hashable)

#: A part of a dotted name that is a number as Python writes it: ``007`` would not survive expansion.
_INDEX = re.compile(r"(?<![^.])(0|[1-9][0-9]{0,8})(?![^.])")
_TOKEN = re.compile(r"\{\{|\}\}|\{([0-9]+(?:\.\.[0-9]+)?(?:,[0-9]+(?:\.\.[0-9]+)?)*)\}")

#: Names with more numbers than this are left alone; real ones have up to four.
MAX_INDICES = 8
#: Runs of numbers in one pair of braces; more become several collapsed names.
MAX_RUNS = 16

_Indices: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Collapsed(Generic[Key]):
    """Tensors that differ only in numbers: ``count`` of them, the first called ``example``, all with ``key``."""

    pattern: str
    count: int
    example: str
    key: Key


def split_indices(name: str) -> tuple[tuple[str, ...], _Indices]:
    """``layers.3.w`` as its template ``("layers.", ".w")`` and its numbers ``(3,)``."""
    pieces = _INDEX.split(name)
    if not 1 < len(pieces) <= 2 * MAX_INDICES + 1:
        return (name,), ()
    return tuple(pieces[::2]), tuple(map(int, pieces[1::2]))


def collapse(names: Iterable[tuple[str, Key]]) -> list[Collapsed[Key]]:
    """Collapse distinct ``names``; only those with an equal key are ever merged.

    The result is in the order in which templates first appear, so it is the same for the
    same input. Braces that belong to a name are doubled. Linear in the number of names.
    """
    groups: dict[tuple[tuple[str, ...], Key], list[_Indices]] = {}
    for name, key in names:
        template, indices = split_indices(name)
        groups.setdefault((template, key), []).append(indices)
    return [
        Collapsed(_render(template, axes), _size(axes), _fill(template, [axis[0] for axis in axes]), key)
        for (template, key), members in groups.items()
        for axes in _boxes(members)
    ]


def expand(pattern: str) -> Iterator[str]:
    """Every name that a collapsed name stands for, the last number varying fastest."""
    texts, axes, text, end = [], [], "", 0
    for token in _TOKEN.finditer(pattern):
        text += pattern[end : token.start()]
        end = token.end()
        if token[1] is None:
            text += token[0][0]
        else:
            texts.append(text)
            axes.append([number for run in token[1].split(",") for number in _numbers(run)])
            text = ""
    texts.append(text + pattern[end:])
    for indices in product(*axes):
        yield _fill(texts, indices)


def _numbers(run: str) -> range:
    first, _, last = run.partition("..")
    return range(int(first), int(last or first) + 1)


def _fill(texts: Sequence[str], indices: Sequence[int]) -> str:
    return texts[0] + "".join(f"{index}{text}" for index, text in zip(indices, texts[1:], strict=True))


def _size(axes: Sequence[Collection[int]]) -> int:
    size = 1
    for axis in axes:
        size *= len(axis)
    return size


def _boxes(members: Collection[_Indices]) -> Iterator[tuple[list[int], ...]]:
    """``members``, distinct index tuples of one length, as disjoint products of sorted axes."""
    if not next(iter(members)):
        yield ()
        return
    rests: dict[int, list[_Indices]] = {}
    for first, *rest in members:
        rests.setdefault(first, []).append(tuple(rest))
    # First numbers that go with the same rest make an axis together.
    firsts: dict[frozenset[_Indices], list[int]] = {}
    for first in sorted(rests):
        firsts.setdefault(frozenset(rests[first]), []).append(first)
    for rest_set, axis in firsts.items():
        # A set has no order of its own that would be the same in every process.
        tails = list(_boxes(sorted(rest_set)))
        for part in _limited(axis):
            for tail in tails:
                yield (part, *tail)


def _limited(axis: list[int]) -> Iterator[list[int]]:
    """``axis`` in pieces of at most :data:`MAX_RUNS` runs."""
    start, runs = 0, 1
    for position in range(1, len(axis)):
        if axis[position] != axis[position - 1] + 1:
            runs += 1
            if runs > MAX_RUNS:
                yield axis[start:position]
                start, runs = position, 1
    yield axis[start:]


def _render(template: tuple[str, ...], axes: Sequence[list[int]]) -> str:
    texts = [text.replace("{", "{{").replace("}", "}}") for text in template]
    return texts[0] + "".join(_braces(axis) + text for axis, text in zip(axes, texts[1:], strict=True))


def _braces(axis: list[int]) -> str:
    if len(axis) == 1:
        return str(axis[0])
    runs: list[list[int]] = []
    for number in axis:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return "{" + ",".join(str(first) if first == last else f"{first}..{last}" for first, last in runs) + "}"
