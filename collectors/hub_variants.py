"""The same model in other numbers: names that differ in nothing but the type or the bits at their end."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: As ``mlx_audio/convert.py`` and publishers name them: -4bit, -bf16, -q8, -mxfp4.
_LABEL = re.compile(r"[-_.](bf16|fp16|f16|fp32|f32|int8|int4|fp8|(?:mx|nv)fp[48]|q[2-8]|[2-8][-_]?bit)$", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
#: Bits of a weight where the name has none: what most are published in.
_UNLABELLED = 16.0


def stem(name: str) -> str:
    """``name`` without what tells its numbers."""
    return _LABEL.sub("", name)


def label(name: str) -> str | None:
    """What tells the numbers of ``name``, in lower case."""
    found = _LABEL.search(name)
    return found[1].lower() if found else None


def bits(text: str | None) -> float:
    """Bits a weight that a label tells."""
    digits = _DIGITS.findall(text or "")
    return float(digits[-1]) if digits else _UNLABELLED


def collect(memory: WorkingMemory, model: str, others: Iterable[str]) -> None:
    """Assert ``hub_variant`` facts for the repositories in ``others`` that hold ``model`` in other numbers."""
    owner, _, name = model.rpartition("/")
    own = bits(label(name))
    for other in sorted(set(others)):
        its_owner, _, its_name = other.rpartition("/")
        told = label(its_name)
        if other == model or its_owner != owner or stem(its_name).lower() != stem(name).lower():
            continue
        memory.add(
            "hub_variant",
            Provenance("hub"),
            model=model,
            variant=clean(other, 200),
            label=told or "as published",
            bits=bits(told),
            smaller=bits(told) < own,
        )
