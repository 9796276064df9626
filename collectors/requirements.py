"""What installed distributions require: of which packages, in which range, by which chain."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.distributions import Distribution, Installed
from mlx_diagnose.collectors.knowledge import canonical

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_CATEGORY_EXTRAS = ("tts", "stt", "sts")
_FOR_DEVELOPERS = ("dev", "docs", "test", "tests", "parity")
_MAX_DISTRIBUTIONS = 400


@dataclass(frozen=True, slots=True)
class Need:
    """A requirement of an installed distribution."""

    owner: Distribution
    requirement: Requirement

    @property
    def package(self) -> str:
        return canonical(self.requirement.name)


class Requirements:
    """What the distributions of one environment require, read and parsed once."""

    def __init__(self, installed: Installed, environment: Mapping[str, str]) -> None:
        """``environment`` holds the values that markers ask for."""
        self._installed = installed
        self._environment = environment
        self._needs: dict[tuple[str, tuple[str, ...]], list[Need]] = {}

    def of(self, owner: Distribution, extras: tuple[str, ...] = ()) -> list[Need]:
        """Requirements of ``owner`` that hold here, with those of its ``extras``."""
        key = (owner.name, extras)
        if key not in self._needs:
            self._needs[key] = list(_needs(owner, self._environment, extras))
        return self._needs[key]

    def chains(self, root: Distribution) -> dict[str, tuple[str, ...]]:
        """Every package that ``root`` draws in, with the shortest chain of names that leads to it.

        ``{"requests": ("mlx-audio", "transformers", "requests")}``; extras that a requirement names are followed.
        """
        found: dict[str, tuple[str, ...]] = {root.name: (root.name,)}
        queue: deque[tuple[Distribution, tuple[str, ...]]] = deque([(root, ())])
        taken: set[tuple[str, tuple[str, ...]]] = set()
        while queue and len(found) < _MAX_DISTRIBUTIONS:
            owner, wanted = queue.popleft()
            for need in self.of(owner, wanted):
                found.setdefault(need.package, (*found[owner.name], need.package))
                more = tuple(sorted(canonical(extra) for extra in need.requirement.extras))
                distribution = self._installed.get(need.package)
                if distribution is not None and (need.package, more) not in taken:
                    taken.add((need.package, more))
                    queue.append((distribution, more))
        return found


def _needs(owner: Distribution, environment: Mapping[str, str], extras: Collection[str]) -> Iterator[Need]:
    from packaging.requirements import InvalidRequirement

    for text in owner.requires:
        marker = text.partition(";")[2]
        named = _EXTRA.findall(marker) if "extra" in marker else []
        if named and " or " not in marker and not any(canonical(name) in extras for name in named):
            continue  # never holds without the extra; parsing hundreds of them would be the most expensive part
        try:
            requirement = _parsed(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or any(_holds(requirement, environment, extra) for extra in ("", *extras)):
            yield Need(owner, requirement)


@lru_cache(maxsize=2048)
def _parsed(text: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(text)


def _holds(requirement: Requirement, environment: Mapping[str, str], extra: str) -> bool:
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.version import InvalidVersion

    assert requirement.marker is not None
    try:
        return requirement.marker.evaluate({**environment, "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return False


def extras(distribution: Distribution, category: str | None = None) -> dict[str, str]:
    """What the extras of ``distribution`` require, those for its developers left out: package to extra.

    Of several extras with the same package, that of ``category`` counts, else that of another model category, else
    the first.
    """
    from packaging.requirements import InvalidRequirement

    found: dict[str, str] = {}
    for text in distribution.requires:
        extra = _EXTRA.search(text.partition(";")[2])
        if extra and extra[1] not in _FOR_DEVELOPERS:
            try:
                name = canonical(_parsed(text).name)
            except InvalidRequirement:
                continue
            if extra[1] == category or (extra[1] in _CATEGORY_EXTRAS and found.get(name) not in _CATEGORY_EXTRAS):
                found[name] = extra[1]
            found.setdefault(name, extra[1])
    return found


def in_range(requirement: Requirement, version: str) -> bool:
    """Whether ``version`` is in the declared range; one that nobody can compare is no proof of a conflict."""
    from packaging.version import InvalidVersion, Version

    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True
