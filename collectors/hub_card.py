"""What the card of a repository says: tags, licence, base model, which mlx-audio converted it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.text import clean

_LONGEST = 200
_README = 1 << 20
#: As ``mlx_audio/convert.py`` and its predecessors write it into README.md.
_CONVERTED = re.compile(r"mlx[-_]audio(?:-plus)?[^\n]{0,40}?version\s*\**\s*v?(\d+(?:\.\d+){1,3})", re.IGNORECASE)
_RELATIONS = ("quantized", "finetune", "adapter", "merge")


@dataclass(frozen=True, slots=True)
class Card:
    """Facts of a model card; None for what it does not say."""

    library: str | None
    task: str | None
    licence: str | None
    base_model: str | None
    base_relation: str | None
    tags: tuple[str, ...]


def read(info: Any) -> Card:
    """The card of a ``ModelInfo``. The hub repeats in tags what the card's head says."""
    tags = tuple(sorted(_short(tag) for tag in info.tags or () if isinstance(tag, str)))
    base = _tagged(tags, "base_model:")
    relation = next((name for name in _RELATIONS if any(tag.startswith(f"base_model:{name}:") for tag in tags)), None)
    card = getattr(info, "card_data", None)
    return Card(
        _text(getattr(info, "library_name", None)) or _text(getattr(card, "library_name", None)),
        _text(getattr(info, "pipeline_tag", None)),
        _tagged(tags, "license:") or _text(getattr(card, "license", None)),
        base or _text(getattr(card, "base_model", None)),
        relation,
        tags,
    )


def converted_with(readme: Path | None) -> str | None:
    """The version of mlx-audio that a README names as the one that converted the model."""
    if readme is None:
        return None
    try:
        with readme.open(encoding="utf-8", errors="replace") as file:
            found = _CONVERTED.search(file.read(_README))
    except OSError:
        return None
    return found[1] if found else None


def _tagged(tags: Iterable[str], prefix: str) -> str | None:
    values = [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix)]
    return next((value for value in values if value.split(":")[0] not in _RELATIONS), None)


def _text(value: object) -> str | None:
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    return _short(value) if isinstance(value, str) and value else None


def _short(text: str) -> str:
    return clean(text, _LONGEST)
