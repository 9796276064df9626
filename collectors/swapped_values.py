"""Pairs of values of a config that may stand in each other's place, as candidates: two keys of a kind, exchanged.

The width of an encoder and that of a decoder, the rates of the one and of the other: no change of
one key mends what the exchange of two does. Which are of a kind their names say: they stand in one
section and share their first word or their last (``encoder_dim`` and ``decoder_dim``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from mlx_diagnose.collectors.candidates import Candidate, explained_otherwise
from mlx_diagnose.collectors.config_edit import Edit, Path
from mlx_diagnose.collectors.trials import Outcome
from mlx_diagnose.engine.memory import WorkingMemory

#: Pairs that are tried at most, and sections that are gone through.
MAX_PAIRS = 16
_MAX_SECTIONS = 40


def candidates(config: Mapping[str, Any], memory: WorkingMemory, base: Outcome) -> list[Candidate]:
    """Exchanges that might mend ``base``: it was not built, or built with other shapes than the checkpoint has."""
    if base.stage not in ("construct", "load") or explained_otherwise(memory):
        return []
    if base.stage == "load" and (base.run.tensors is None or not base.run.tensors["counts"]["shape"]):
        return []
    pairs = sorted(_pairs(config), key=lambda pair: pair[0])[:MAX_PAIRS]
    return [
        Candidate(Edit("swap", (*section, one), to=(*section, other)), 1, must_load=True)
        for _, section, one, other in pairs
    ]


def _pairs(config: Mapping[str, Any]) -> Iterator[tuple[int, Path, str, str]]:
    """How far the names are apart (0: they share their last word), the section, and the two keys."""
    sections: list[tuple[Path, Mapping[str, Any]]] = [((), config)]
    for path, section in sections:
        for (one, value), (other, second) in combinations(section.items(), 2):
            if _kind(value) is not None and _kind(value) == _kind(second) and value != second:
                words, others = one.lower().split("_"), other.lower().split("_")
                if words[-1] == others[-1] or words[0] == others[0]:
                    yield int(words[-1] != others[-1]), path, one, other
        for name, value in section.items():
            if isinstance(value, dict) and len(sections) < _MAX_SECTIONS:
                sections.append(((*path, name), value))


def _kind(value: object) -> tuple[bool, int] | None:
    """What can be exchanged for another of its kind: a size, or a list of as many sizes; None for all else."""
    sizes = value if isinstance(value, list) else [value]
    if not sizes or not all(type(size) is int and size > 0 for size in sizes):
        return None
    return isinstance(value, list), len(sizes)
