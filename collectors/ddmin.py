"""Delta debugging: the smallest part of a list that still has a property.

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on
Software Engineering 28(2), 2002: the algorithm ddmin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

_T = TypeVar("_T")


def ddmin(items: Sequence[_T], holds: Callable[[list[_T]], bool]) -> list[_T]:
    """A part of ``items``, in their order, for which ``holds``, and without any one of whose items it does not.

    ``holds(items)`` is taken to be true. A property that is not monotone, or a ``holds`` that gives
    up and says no, gives a part that is larger than need be, never one that does not hold.
    """
    kept = list(items)
    if not kept or holds([]):
        return []
    pieces = 2
    while len(kept) >= 2:
        chunks = _split(kept, pieces)
        for at, chunk in enumerate(chunks):
            rest = [item for other in (*chunks[:at], *chunks[at + 1 :]) for item in other]
            if holds(chunk):
                kept, pieces = chunk, 2
                break
            if len(chunks) > 2 and holds(rest):
                kept, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if pieces >= len(kept):
                break
            pieces = min(2 * pieces, len(kept))
    return kept


def _split(items: list[_T], pieces: int) -> list[list[_T]]:
    bounds = [len(items) * at // pieces for at in range(pieces + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]
