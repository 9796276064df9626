"""Which given key may be which absent one."""

from __future__ import annotations

from typing import Any

import pytest

from mlx_diagnose.collectors.config_names import beside, similar
from mlx_diagnose.collectors.config_sections import Key


@pytest.mark.parametrize(
    ("value", "default", "how"),
    [
        (500000.0, "10000.0", "like"),
        (10000, "10000.0", "equal"),
        (3, "24000", "unlike"),
        (-1, "64", "unlike"),
        (0, "64", "unlike"),
        ("gelu", '"silu"', "like"),
        ("gelu", "1", "unlike"),
        (True, "1", "unlike"),
        ([2, 2], "[8, 8, 2]", "like"),
        ({"type": "x"}, "null", "null"),
        (64, None, None),
        (64, "field(default_factory=x)", None),
    ],
)
def test_a_value_beside_a_default(value: Any, default: str | None, how: str | None) -> None:
    assert beside(value, default) == how


def test_another_spelling_of_one_name_may_have_any_magnitude() -> None:
    assert beside(64, "99574") == "unlike"
    assert beside(64, "99574", same_words=True) == "like"
    assert beside("64", "99574", same_words=True) == "unlike"


def test_of_equals_the_size_in_the_checkpoint_and_then_the_unpublished_name_wins() -> None:
    absent = [Key("n_embd", "n_embd", "C", default="768")]
    unknown = [Key("dim", "dim", "C"), Key("hidden_size", "hidden_size", "C")]
    config = {"dim": 64, "hidden_size": 32}

    def best(**options: Any) -> list[str]:
        return [pair.given for pair in similar(unknown, absent, config, **options) if pair.best]

    assert best() == []
    assert best(known={"hidden_size": 1}) == ["dim"]
    assert best(fits=lambda path, value: value == 32, known={"hidden_size": 1}) == ["hidden_size"]
