"""Whether names tell that a tensor is another one, where several of one shape could be meant.

Tensors of one shape can be exchanged unseen: a model with key and value swapped loads. A pair then
rests on its names alone, and these must have something in common that no rival shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlx_diagnose.collectors.tensor_renames import KNOWN_ENDINGS
from mlx_diagnose.collectors.tensor_words import words
from mlx_diagnose.collectors.tensors import TensorTable

_KNOWN = frozenset((left.rpartition(".")[2], right.rpartition(".")[2]) for left, right in KNOWN_ENDINGS)
#: Pairs of a renaming that are looked at: the other layers are named like the first.
_LOOKED_AT = 8


def undecided(
    pairs: Iterable[tuple[str, str]], found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> bool:
    """Some pair (name found, name wanted) could as well be another: ``found`` and ``wanted`` are all, with shapes."""
    for number, (old, new) in enumerate(pairs):
        if number == _LOOKED_AT:
            break
        if (old.rpartition(".")[2], new.rpartition(".")[2]) in _KNOWN | {(b, a) for a, b in _KNOWN}:
            continue
        shape = wanted.get(new)
        rivals = [name for name, other in wanted.items() if other == shape and name != new and _near(old, name, new)]
        others = [name for name, other in found.items() if other == shape and name != old and _near(new, name, old)]
        if any(not _tells(old, new, name) for name in rivals) or any(not _tells(new, old, name) for name in others):
            return True
    return False


def shapes(table: TensorTable, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of those of ``names`` that are in ``table``."""
    return {name: table[name].shape for name in names if name in table}


def _near(one: str, rival: str, partner: str) -> bool:
    """``rival`` differs from ``one`` in no more parts than ``partner`` does."""
    return _distance(one, rival) <= _distance(one, partner)


def _distance(one: str, other: str) -> int:
    left, right = one.split("."), other.split(".")
    same = sum(a == b for a, b in zip(left, right, strict=False))
    return max(len(left), len(right)) - same


def _tells(one: str, partner: str, rival: str) -> bool:
    """``one`` and ``partner`` have a word in common that the ``rival`` lacks."""
    own = words(one)
    return bool((own & words(partner)) - words(rival)) and len(own & words(partner)) >= len(own & words(rival))
