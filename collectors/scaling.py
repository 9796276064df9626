"""Makes a config small by trial: the same model with narrower layers, and fewer of them.

Numbers that are equal stay equal, and numbers of one section that divide each other keep doing
so; what the code needs besides is found out by building. So a model of gigabytes gets a twin of
some megabytes whose arrays can be made and evaluated.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

from mlx_diagnose.collectors.builds import Build, Builds
from mlx_diagnose.collectors.config_edit import Edit, Path, leaves

#: Divisors that are tried on all widths together.
_DIVISORS = (16, 4, 2)
#: The largest number that may count layers.
_MOST_LAYERS = 200
#: The least by which one number has to shrink the model to be changed alone.
_WORTH = 0.9
#: Sections whose numbers are no sizes.
_NO_SIZES = ("quantization", "quantization_config")

#: Names of numbers that count modules, which have nothing to do with an equal width.
_COUNTS = re.compile(r"layer|depth|block|stage", re.IGNORECASE)

#: What is one number of the model: its value, and whether it counts modules.
Number: TypeAlias = tuple[int, bool]
Values: TypeAlias = dict[Number, int]


@dataclass(frozen=True, slots=True)
class Scaled:
    """A config made small, how the model of it was built, and how many of its numbers were changed."""

    config: dict[str, Any]
    build: Build
    changed: int


def scale(
    config: Mapping[str, Any], defaults: Sequence[tuple[Path, int]], builds: Builds, budget: int
) -> Scaled | None:
    """A config like ``config`` whose parameters take at most ``budget`` bytes, or as few as was found.

    ``defaults`` are numbers that stand in for absent keys. None if ``config`` itself is not built.
    """
    full = builds.build(config)
    if full is None or not full.built:
        return None
    search = _Search(config, defaults, builds, full)
    if full.bytes > budget:
        search.run(budget)
    return Scaled(search.config(search.values), search.best, search.changed)


class _Search:
    """A greedy search: ``values`` maps each number of the config to what it is now."""

    def __init__(
        self, config: Mapping[str, Any], defaults: Sequence[tuple[Path, int]], builds: Builds, full: Build
    ) -> None:
        self._config = config
        self._builds = builds
        self._numbers = [
            *((path, value) for path, value in leaves(dict(config)) if type(value) is int and value > 1),
            *((path, value) for path, value in defaults if value > 1),
        ]
        self._numbers = [(path, value) for path, value in self._numbers if path[0] not in _NO_SIZES]
        self._added = {path for path, _ in defaults}
        self._divisible = list(self._pairs())
        self.values: Values = {_number(path, value): value for path, value in self._numbers}
        self.best = full

    @property
    def changed(self) -> int:
        """Numbers that are not what they were."""
        return sum(1 for path, value in self._numbers if self.values[_number(path, value)] != value)

    def run(self, budget: int) -> None:
        """Shrink until the budget is met or nothing helps."""
        for step in (self._fewer_layers, *(lambda by=by: self._narrower(by) for by in _DIVISORS), self._one_by_one):
            if self.best.bytes <= budget or self._builds.exhausted:
                return
            step()

    def config(self, values: Values) -> dict[str, Any]:
        """The config with each number as ``values`` says; a default is written out only where it changes."""
        changed = copy.deepcopy(dict(self._config))
        for path, value in self._numbers:
            new = values[_number(path, value)]
            if new != value:
                operation = "add" if path in self._added else "replace"
                changed = Edit(operation, path, new).apply(changed)  # type: ignore[arg-type]
        return changed

    def _fewer_layers(self) -> None:
        # What is called a layer first; then whatever makes fewer tensors when it is less.
        for number in sorted(self.values, key=lambda number: (not number[1], number)):
            if 2 < number[0] <= _MOST_LAYERS:
                any(self._attempt({number: few}, fewer=True) for few in (2, 4) if few < number[0])

    def _narrower(self, divisor: int) -> None:
        """Divide all numbers that can be, or as many of them together as the model is built with."""
        whole = [
            number for number, now in self.values.items() if not number[1] and now % divisor == 0 and now >= 2 * divisor
        ]
        stack = [sorted(whole, reverse=True)]
        while stack and not self._builds.exhausted:
            part = stack.pop()
            if not part or self._attempt({number: self.values[number] // divisor for number in part}) or len(part) == 1:
                continue
            stack += [part[len(part) // 2 :], part[: len(part) // 2]]

    def _one_by_one(self) -> None:
        """Numbers that no common divisor suits: vocabularies, prime widths."""
        for number in sorted(self.values, reverse=True):
            for small in (64, 256, 1024):
                if self.values[number] > 2 * small and self._attempt({number: small}, worth=_WORTH):
                    break

    def _attempt(self, change: Values, *, worth: float = 1.0, fewer: bool = False) -> bool:
        """Keep ``change`` if the model is built and not larger for it (``fewer``: of fewer tensors)."""
        values = {**self.values, **change}
        if not self._keeps_divisors(values):
            return False
        found = self._builds.build(self.config(values))
        if found is None or not found.built or found.bytes > self.best.bytes * worth:
            return False
        if fewer and found.tensors >= self.best.tensors:
            return False
        self.values, self.best = values, found
        return True

    def _pairs(self) -> Iterator[tuple[Number, Number]]:
        """Sizes of one section of which one is a multiple of the other."""
        sections: dict[Path, set[Number]] = {}
        for path, value in self._numbers:
            if not _number(path, value)[1]:
                sections.setdefault(path[:-1], set()).add(_number(path, value))
        for numbers in sections.values():
            for small, large in combinations(sorted(numbers), 2):
                if large[0] % small[0] == 0:
                    yield small, large

    def _keeps_divisors(self, values: Values) -> bool:
        return all(values[large] % values[small] == 0 for small, large in self._divisible)


def _number(path: Path, value: int) -> Number:
    return value, _COUNTS.search(str(path[-1])) is not None
