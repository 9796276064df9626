"""Tables of the knowledge base that collectors look things up in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache(maxsize=16)
def table(name: str) -> Mapping[str, Any]:
    """``knowledge_base/<name>.yaml`` as a mapping; empty if there is none.

    The tables ship with the package and do not change while it runs.
    """
    import yaml

    try:
        text = (files("mlx_diagnose.knowledge_base") / f"{name}.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return data if isinstance(data, dict) else {}


def distribution_of(module: str) -> str:
    """The distribution that provides ``module``: as ``distributions.yaml`` says, else the name of its top package.

    Names are canonical, as in :pep:`503`: ``huggingface_hub.utils`` gives ``huggingface-hub``.
    """
    known = table("distributions")
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        found = known.get(".".join(parts[:end]))
        if isinstance(found, str):
            return canonical(found)
    return canonical(parts[0])


def canonical(name: str) -> str:
    """A distribution name in its canonical form (lower case, runs of ``-_.`` as one dash)."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)
