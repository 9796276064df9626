"""Repositories that may have been meant by an id that the hub does not know: cached, known, of the same owner."""

from __future__ import annotations

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


def collect(memory: WorkingMemory, model: str, known: Mapping[str, Iterable[str]]) -> None:
    """Assert ``hub_candidate`` facts for the ids in ``known`` (by source) that are most like ``model``."""
    from rapidfuzz import fuzz, utils

    sources: dict[str, str] = {}
    for source, ids in known.items():
        for other in ids:
            if other.lower() != model.lower() or other != model:
                sources.setdefault(other, source)
    rated = sorted(
        ((fuzz.WRatio(model, other, processor=utils.default_process), other) for other in sources if other != model),
        key=lambda pair: (-pair[0], pair[1]),
    )
    likely = [(score, other) for score, other in rated if score >= LEAST and _same_name(model, other) >= LEAST]
    for rank, (score, other) in enumerate(likely[:MOST], start=1):
        memory.add(
            "hub_candidate",
            Provenance("hub"),
            model=model,
            candidate=clean(other, 200),
            source=sources[other],
            similarity=round(score / 100, 4),
            rank=rank,
        )


def _same_name(model: str, other: str) -> float:
    """Likeness of the names alone: one owner has many models."""
    from rapidfuzz import fuzz

    return float(fuzz.ratio(model.split("/")[-1].lower(), other.split("/")[-1].lower()))
