"""Where an argument came from: told by identity, by content, by name and value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlx_diagnose.collectors.probes.argument_origins import ArgumentOrigins

RAW: dict[str, Any] = {
    "hidden_size": 96,
    "vocab": 4000,
    "encoder": {"dim": 32, "layers": 3, "rates": [2, 4]},
    "decoder": {"dim": 48, "layers": 5, "inner": {"dim": 7, "heads": 9}},
}


@dataclass
class Section:
    dim: int
    layers: int
    rates: tuple[int, ...] = ()


@dataclass
class Config:
    encoder: Section = field(default_factory=lambda: Section(32, 3))
    hidden_size: int = 96


def test_the_very_object_that_hangs_on_the_config() -> None:
    origins, config = ArgumentOrigins(RAW), Config()
    origins.know(config)
    assert origins.of([("config", config.encoder)])["section"] == "encoder"
    assert origins.of([("config", config)])["section"] == ""


def test_an_object_made_anew_of_a_section() -> None:
    assert ArgumentOrigins(RAW).of([("c", Section(32, 3, (2, 4)))])["section"] == "encoder"
    assert ArgumentOrigins(RAW).of([("c", Section(1, 2))])["section"] is None
    assert ArgumentOrigins(RAW).of([("c", dict(RAW["decoder"]["inner"]))])["section"] == "decoder.inner"


def test_single_values_by_name_or_when_they_occur_once() -> None:
    origins = ArgumentOrigins(RAW)
    found = origins.of([("hidden_size", 96), ("size", 4000), ("layers", 5), ("flag", True), ("n", 1)])
    assert found == {"section": None, "keys": ["hidden_size", "vocab", "decoder.layers"]}


def test_a_config_that_holds_itself_ends() -> None:
    raw: dict[str, Any] = {"a": {"b": 2, "c": 3}}
    raw["a"]["self"] = raw["a"]
    assert ArgumentOrigins(raw).of([("x", {"b": 2, "c": 3})])["section"] == "a"


def test_objects_that_answer_no_question() -> None:
    class Hostile:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    assert ArgumentOrigins(RAW).of([("x", Hostile()), ("hidden_size", 96)])["keys"] == ["hidden_size"]
