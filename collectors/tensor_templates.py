"""Tensors whose names differ in numbers only, taken together, and how alike two such names are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlx_diagnose.collectors.tensor_names import split_indices
from mlx_diagnose.collectors.tensor_words import words

Indices: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[int, ...]

#: Stands for a number in the text of a template. A name that holds it itself is in no template.
HOLE = "\0"

#: Names a side of one shape that are compared letter by letter.
_MAX_ALIKE = 150
#: Likeness, 0 to 1, from which two names are one; less is enough where no other tensor has the shape, if it is
#: of two axes or more (vectors of one length are many).
_ALIKE, _ALIKE_ALONE = 0.5, 0.4
#: Two candidates this close in likeness are equally good.
_CLOSE = 0.05
#: What words in common add to the likeness of two names that are to be told from others, by their share of all words.
_OF_WORDS = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Tensors whose names differ in numbers only: real name and shape by numbers."""

    texts: tuple[str, ...]
    members: Mapping[Indices, tuple[str, Shape]]

    @property
    def bucket(self) -> tuple[int, Shape]:
        first = min(self.members)
        return len(first), self.members[first][1]

    @property
    def text(self) -> str:
        return HOLE.join(self.texts)

    def common(self, other: Template) -> list[Indices] | None:
        """The numbers in both, where all tensors agree and one side has no others; else None."""
        shared = sorted(self.members.keys() & other.members.keys())
        if not shared or len(shared) < min(len(self.members), len(other.members)):
            return None
        return shared if all(self.members[at][1] == other.members[at][1] for at in shared) else None


def by_template(names: Iterable[tuple[str, str, Shape]]) -> list[Template]:
    """Templates of (real name, name to go by, shape), in order of their first tensors."""
    members: dict[tuple[str, ...], dict[Indices, tuple[str, Shape]]] = {}
    for name, virtual, shape in names:
        if HOLE in virtual:
            continue
        texts, indices = split_indices(virtual)
        members.setdefault(texts, {})[indices] = (name, shape)
    return [Template(texts, entries) for texts, entries in members.items()]


def pair_alike(found: Iterable[Template], wanted: Iterable[Template]) -> Iterator[tuple[Template, Template, bool]]:
    """Templates of agreeing shapes paired by likeness of their names, each used once.

    The flag says that another template would have fitted about as well.
    """
    buckets: dict[tuple[int, Shape], tuple[list[Template], list[Template]]] = {}
    for side, templates in enumerate((found, wanted)):
        for template in templates:
            buckets.setdefault(template.bucket, ([], []))[side].append(template)
    for (_, shape), (left, right) in buckets.items():
        alone = len(left) == len(right) == 1 and len(shape) > 1
        if left and right:
            yield from _paired(left[:_MAX_ALIKE], right[:_MAX_ALIKE], _ALIKE_ALONE if alone else _ALIKE)


def _paired(
    found: Sequence[Template], wanted: Sequence[Template], enough: float
) -> Iterator[tuple[Template, Template, bool]]:
    """The best pairs first, down to a likeness of ``enough``."""
    from rapidfuzz import fuzz

    scores: dict[tuple[int, int], float] = {}
    others = [(j, other, other.text, other.text.split(".")) for j, other in enumerate(wanted)]
    for i, one in enumerate(found):
        text = one.text
        parts = text.split(".")
        for j, other, other_text, other_parts in others:
            ratio = fuzz.ratio(text, other_text) / 100
            score = (_common_parts(parts, other_parts) + ratio) / 2
            if score >= enough and one.common(other) is not None:
                scores[i, j] = score
    if len(scores) > 1:
        for i, j in scores:
            scores[i, j] += _OF_WORDS * _common_words(found[i].text.split("."), others[j][3])
    free = (set(range(len(found))), set(range(len(wanted))))
    for (i, j), score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        if i in free[0] and j in free[1]:
            rivals = [
                other
                for other in [(i, k) for k in free[1] - {j}] + [(k, j) for k in free[0] - {i}]
                if scores.get(other, 0.0) >= score - _CLOSE
            ]
            free[0].remove(i)
            free[1].remove(j)
            yield found[i], wanted[j], bool(rivals)


def _common_parts(left: Sequence[str], right: Sequence[str]) -> float:
    """The share of dotted parts, from the front and from the back, in which two names agree."""
    shorter, longer = sorted((len(left), len(right)))
    front = agreeing(left, right)
    back = agreeing(left[::-1], right[::-1])
    return min(front + back, shorter) / longer


def _common_words(left: Sequence[str], right: Sequence[str]) -> float:
    """The share of words in common among those of the parts that differ: ``to_q`` is ``q_proj``, not ``k_proj``."""
    front = agreeing(left, right)
    back = agreeing(left[front:][::-1], right[front:][::-1])
    one, other = (words(" ".join(parts[front : len(parts) - back])) for parts in (left, right))
    return len(one & other) / len(one | other) if one or other else 0.0


def agreeing(left: Sequence[str], right: Sequence[str]) -> int:
    """How many items from the front are equal."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
