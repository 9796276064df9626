"""Graceful degradation: the first model of several that loads, and why those before it did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters.adapter import AdapterError
from mlx_diagnose.adapters.runtime import load


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model that loads, what it was loaded from, and the exception of each that was tried before it."""

    model: Any
    source: str
    failed: tuple[tuple[str, Exception], ...] = ()

    @property
    def degraded(self) -> bool:
        """It is not the model that was wanted first."""
        return bool(self.failed)


class NothingLoads(AdapterError):
    """None of the models loads; ``failed`` has the exception of each, in their order."""

    def __init__(self, failed: Sequence[tuple[str, Exception]]) -> None:
        tried = "; ".join(f"{source}: {type(error).__name__}: {error}" for source, error in failed)
        super().__init__(f"none of the models loads ({tried})" if failed else "no model was named")
        self.failed = tuple(failed)


def load_first(models: Sequence[str | Path], **options: Any) -> Loaded:
    """Load the first of ``models`` (directories or repository ids) that loads, each with its adapters.

    ``options`` are those of :func:`load`. Raises NothingLoads; what is no Exception (an
    interrupt) is let through.
    """
    failed: list[tuple[str, Exception]] = []
    for source in map(str, models):
        try:
            model = load(source, **options)
        except Exception as error:
            failed.append((source, error))
        else:
            return Loaded(model, source, tuple(failed))
    raise NothingLoads(failed)
