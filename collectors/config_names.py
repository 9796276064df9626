"""Names of config keys: which of them may be each other's, and which say nothing about the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from mlx_diagnose.collectors.annotation_types import disagreement
from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.config_sections import Key
from mlx_diagnose.collectors.knowledge import table
from mlx_diagnose.collectors.name_similarity import THRESHOLD, known_aliases, similarity

_MAX_PAIRS = 400
_NOTHING: Any = object()
_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})
#: The factor by which numbers of one meaning differ at most, from one variant of a model to another.
_NEAR = 100


@dataclass(frozen=True, slots=True)
class Pair:
    """A given key that may be an absent one; paths are dotted.

    ``fits``: the checkpoint shows the given value for the absent key; ``default``: what stands in, as JSON text;
    ``usual``: a config that is known to be good has the given key too.
    """

    given: str
    wanted: str
    score: float
    required: bool
    known_alias: bool
    fits: bool | None = None
    default: str | None = None
    usual: bool = False
    best: bool = False

    @property
    def rank(self) -> tuple[float, int, bool]:
        """Of names that are as much alike, that whose size the checkpoint shows is the likelier one, and that which
        does not stand in a published config as well."""
        return self.score, {True: 1, None: 0, False: -1}[self.fits], not self.usual


def is_housekeeping(name: str) -> bool:
    """A key that says nothing about whether the model can be built."""
    return name.startswith("_") or name in table("aliases").get("housekeeping", ())


def similar(
    unknown: Sequence[Key],
    absent: Sequence[Key],
    config: Mapping[str, Any],
    fits: Callable[[str, Any], bool | None] = lambda path, value: None,
    known: Mapping[str, Any] = _NO_CONFIG,
) -> list[Pair]:
    """Unknown keys paired with absent ones of like names, the likeliest first; ``best`` where both prefer each other.

    In one section any likeness counts; between sections only the very name. ``fits`` tells whether
    the checkpoint shows a value for a path; ``known`` is a config that is known to be good.
    """
    pairs = []
    for given in unknown:
        if is_housekeeping(given.name) or given.set_by_code:
            continue
        usual = value_at(known, given.path, _NOTHING) is not _NOTHING
        for wanted in absent:
            value = value_at(config, given.path)
            score = _score(given, wanted, value)
            if score >= THRESHOLD:
                alias, shown = known_aliases(given.name, wanted.name), fits(wanted.path, value)
                pairs.append(Pair(given.path, wanted.path, score, wanted.required, alias, shown, wanted.default, usual))
    # Of equals, a needed key is the likelier one to have been meant.
    pairs.sort(key=lambda pair: (-pair.score, not pair.required, pair.given, pair.wanted))
    return [replace(pair, best=_is_best(pair, pairs)) for pair in pairs[:_MAX_PAIRS]]


def _score(given: Key, wanted: Key, value: Any) -> float:
    score = similarity(given.name, wanted.name)
    if given.section != wanted.section:
        if score < 1.0:
            return 0.0
        score = 0.9
    elif score == 1.0:
        return 0.0
    # A section is no number, and a list of rates no name.
    misfit = disagreement(value, wanted.type, nested=wanted.is_section and wanted.type is None)
    if misfit is not None and not misfit.convertible:
        score *= 0.6
    return round(score, 4)


def _is_best(pair: Pair, pairs: Sequence[Pair]) -> bool:
    """No other pair of either side scores as high (a needed key wins over one with a default)."""
    rivals = [p for p in pairs if p is not pair and (p.given == pair.given or p.wanted == pair.wanted)]
    return not any(p.rank > pair.rank or (p.rank == pair.rank and p.required >= pair.required) for p in rivals)


def beside(value: Any, default: str | None, *, same_words: bool = False) -> str | None:
    """How ``value`` stands to a default (JSON text): equal, like, unlike, or null; None where there is no default.

    Like are numbers of one sign within two orders of magnitude, and other values of one type. Where
    the names have the ``same_words`` (``vocabSize``), any magnitude will do.
    """
    try:
        other = json.loads(default) if default is not None else _NOTHING
    except ValueError:
        other = _NOTHING
    if other is _NOTHING:
        return None
    if other is None:
        return "null"
    if value == other and isinstance(value, bool) == isinstance(other, bool):
        return "equal"
    if _is_number(value) and _is_number(other):
        near = value * other > 0 and _NEAR > value / other > 1 / _NEAR
        return "like" if near or same_words else "unlike"
    return "like" if type(value) is type(other) else "unlike"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
