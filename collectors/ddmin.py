"""Delta debugging: the smallest part of a list that still has a property.

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on
Software Engineering 28(2), 2002: the algorithm ddmin, here without its tests of small parts alone and
without starting over after each success, which cost more loads than they save.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def ddmin(items: Sequence[_T], holds: Callable[[list[_T]], bool], *, coarse: bool = True) -> list[_T]:
    """A part of ``items``, in their order, for which ``holds``, and without any one of whose items it does not.

    ``holds(items)`` is taken to be true. A property that is not monotone, or a ``holds`` that gives
    up and says no, gives a part that is larger than need be, never one that does not hold. Without
    ``coarse`` items are left out one by one only: for what is nearly minimal.
    """
    kept = list(items)
    if not kept or holds([]):
        return []
    size = max(1, len(kept) // 2) if coarse else 1
    while True:
        at, smaller = 0, False
        while at < len(kept) and len(kept) > 1:
            rest = kept[:at] + kept[at + size :]
            if rest and holds(rest):
                kept, smaller = rest, True  # and on from here: what comes before was tried
            else:
                at += size
        if size > 1:
            size //= 2
        elif not smaller:
            return kept
