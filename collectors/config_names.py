"""Names of config keys: which of them may be each other's, and which say nothing about the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_diagnose.collectors.annotation_types import disagreement
from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.config_sections import Key
from mlx_diagnose.collectors.knowledge import table
from mlx_diagnose.collectors.name_similarity import THRESHOLD, known_aliases, similarity

_MAX_PAIRS = 400


@dataclass(frozen=True, slots=True)
class Pair:
    """A given key that may be an absent one; paths are dotted."""

    given: str
    wanted: str
    score: float
    required: bool
    known_alias: bool
    best: bool = False


def is_housekeeping(name: str) -> bool:
    """A key that says nothing about whether the model can be built."""
    return name.startswith("_") or name in table("aliases").get("housekeeping", ())


def similar(unknown: Sequence[Key], absent: Sequence[Key], config: Mapping[str, Any]) -> list[Pair]:
    """Unknown keys paired with absent ones of like names, the likeliest first; ``best`` where both prefer each other.

    In one section any likeness counts; between sections only the very name.
    """
    pairs = []
    for given in unknown:
        if is_housekeeping(given.name) or given.set_by_code:
            continue
        for wanted in absent:
            score = _score(given, wanted, value_at(config, given.path))
            if score >= THRESHOLD:
                alias = known_aliases(given.name, wanted.name)
                pairs.append(Pair(given.path, wanted.path, score, wanted.required, alias))
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
    return not any(p.score > pair.score or (p.score == pair.score and p.required >= pair.required) for p in rivals)
