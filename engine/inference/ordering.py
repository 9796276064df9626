"""Orders that depend on what facts say, not on when they were asserted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mlx_diagnose.engine.model import Activation, Fact, Scalar

_DIGITS = re.compile(r"([0-9]+)")


def natural(value: Scalar) -> tuple[Any, ...]:
    """A key that orders null, booleans, numbers and texts, numbers in texts by their value."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, (int, float)):
        return (2, value, repr(value))
    pieces = _DIGITS.split(value)
    return (3, tuple(int(piece) if place % 2 else piece for place, piece in enumerate(pieces)), value)


def content_key(fact: Fact) -> tuple[Any, ...]:
    """Orders facts by kind and fields."""
    return (fact.kind, *(natural(value) for value in fact.fields.values()))


def activation_key(facts: Mapping[str, Fact]) -> Callable[[Activation], tuple[Any, ...]]:
    """A key for activations: the rule, then what its facts say. ``facts`` are by id."""
    keys: dict[str, tuple[Any, ...]] = {}

    def key(activation: Activation) -> tuple[Any, ...]:
        for _, identifier in activation.facts:
            if identifier not in keys:
                keys[identifier] = content_key(facts[identifier])
        return (
            activation.rule,
            tuple((alias, keys[identifier]) for alias, identifier in activation.facts),
            activation.absent,
        )

    return key
