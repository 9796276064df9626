"""Repositories that may have been meant by an id that the hub does not know: cached, known, of the same owner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Least similarity of the spelling, and how many are told.
LEAST = 72.0
MOST = 3


def cached_ids(cache: Path) -> list[str]:
    """Ids of the model repositories in a cache."""
    try:
        names = [entry.name for entry in cache.iterdir() if entry.name.startswith("models--")]
    except OSError:
        return []
    return [name.removeprefix("models--").replace("--", "/") for name in names]


def known_ids() -> list[str]:
    """Ids of the published models that the knowledge base has a configuration of."""
    from mlx_diagnose.knowledge_base.configurations import known_good_configurations

    return [model for known in known_good_configurations().values() for model in known.models]


def alike(word: str, ids: Iterable[str]) -> list[tuple[float, str]]:
    """The ``ids`` most like ``word``, an id or a name alone, with how alike they are (0 to 100), the most first."""
    from rapidfuzz import fuzz, utils

    def part(repo: str) -> str:
        return repo if "/" in word else repo.rpartition("/")[2]

    rated = sorted(
        ((fuzz.WRatio(word, part(other), processor=utils.default_process), other) for other in ids if other != word),
        key=lambda pair: (-pair[0], pair[1]),
    )
    return [(score, other) for score, other in rated if score >= LEAST and _same_name(word, other) >= LEAST][:MOST]


def same_numbers(word: str, other: str) -> bool:
    """Whether the names hold the same numbers: another size or precision is another model, not a misspelling."""
    return _numbers(word) == _numbers(other)


def _numbers(repo: str) -> list[str]:
    return re.findall(r"\d+", repo.rpartition("/")[2])


def collect(memory: WorkingMemory, model: str, known: Mapping[str, Iterable[str]]) -> None:
    """Assert ``hub_candidate`` facts for the ids in ``known`` (by source) that are most like ``model``."""
    sources: dict[str, str] = {}
    for source, ids in known.items():
        for other in ids:
            sources.setdefault(other, source)
    for rank, (score, other) in enumerate(alike(model, sources), start=1):
        memory.add(
            "hub_candidate",
            Provenance("hub"),
            model=model,
            candidate=clean(other, 200),
            source=sources[other],
            similarity=round(score / 100, 4),
            rank=rank,
            same_numbers=same_numbers(model, other),
        )


def _same_name(model: str, other: str) -> float:
    """Likeness of the names alone: one owner has many models."""
    from rapidfuzz import fuzz

    return float(fuzz.ratio(model.split("/")[-1].lower(), other.split("/")[-1].lower()))
