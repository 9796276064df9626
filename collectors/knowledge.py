"""Tables of the knowledge base that collectors look things up in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlx_diagnose import knowledge_base


@lru_cache(maxsize=16)
def table(name: str) -> Mapping[str, Any]:
    """``knowledge_base/<name>.yaml`` as a mapping; empty if there is none.

    The tables ship with the package and do not change while it runs.
    """
    import yaml

    try:
        text = Path(knowledge_base.__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return data if isinstance(data, dict) else {}


def distribution_of(module: str) -> str:
    """The canonical name of the distribution that provides ``module`` (dotted), as well as it is known.

    >>> distribution_of("huggingface_hub.utils")
    'huggingface-hub'
    """
    from mlx_diagnose.knowledge_base.data import distribution_of as known

    return canonical(known(module).name)


def canonical(name: str) -> str:
    """A distribution name in its canonical form (lower case, runs of ``-_.`` as one dash)."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)
