"""Tensors that a checkpoint holds one by one, numbered, and the model as one: experts that are to be stacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mlx_diagnose.collectors.tensor_names import split_indices
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.weights_difference import Difference


@dataclass(frozen=True, slots=True)
class Stacking:
    """``whole`` of the model is made of ``members``, stored names from number 0 on, along a new first axis.

    ``place``: which number of a member's name counts them. ``received``: what sanitize makes of the first.
    """

    whole: str
    members: tuple[str, ...]
    place: int
    received: str

    def renamed(self, called: Callable[[str], str]) -> Stacking:
        """The same with another name for what is made."""
        return replace(self, whole=called(self.whole))


def stackings(difference: Difference, received: TensorTable, model: TensorTable) -> Iterator[Stacking]:
    """Missing tensors whose first axis counts unexpected ones of their name, but for a number, and their shape."""
    before = {now: old for old, now in difference.names.items()}
    series: dict[tuple[str, ...], dict[int, tuple[str, int]]] = {}
    for name in difference.unexpected:
        parts, stored = name.split("."), before.get(name)
        for at, part in enumerate(parts) if stored is not None else ():
            place = _place(parts, at, str(stored)) if part.isdecimal() else None
            if place is not None:
                series.setdefault((*parts[:at], *parts[at + 1 :]), {})[int(part)] = (name, place)
    for whole in difference.missing:
        members = series.get(tuple(whole.split(".")), {})
        shape = model[whole].shape
        names = [members[number][0] for number in sorted(members)]
        if len(names) < 2 or sorted(members) != list(range(len(names))) or shape[:1] != (len(names),):
            continue
        if (
            all(received[name].shape == shape[1:] for name in names)
            and len({place for _, place in members.values()}) == 1
        ):
            yield Stacking(whole, tuple(before[name] for name in names), members[0][1], names[0])


def _place(parts: list[str], at: int, stored: str) -> int | None:
    """Which number of the stored name it is, counted from the end, where prefixes do not matter; None if it is gone."""
    behind = len(split_indices(".".join(["x", *parts[at + 1 :]]))[1])
    numbers = split_indices(stored)[1]
    place = len(numbers) - 1 - behind
    return place if place >= 0 and numbers[place] == int(parts[at]) else None
