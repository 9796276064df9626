"""What each failure class means, in words for the person who meets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from mlx_diagnose.knowledge_base import yaml_data


@dataclass(frozen=True, slots=True)
class Meaning:
    """``means`` says what is wrong where a class is found, ``helps`` what usually mends it."""

    means: str
    helps: str


@cache
def meanings() -> Mapping[str, Meaning]:
    """Every failure class with its meaning, in the published order."""
    entries = yaml_data.read(Path(__file__).with_name("failure_classes.yaml"))
    return MappingProxyType({name: Meaning(**entry) for name, entry in entries.items()})
