"""Parts that are filled without a comparison, with tensors that do not fit them."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from mlx_diagnose.collectors.probes.unfit_parts import UnfitParts


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.codec = nn.Linear(4, 8)
        self.kept = mx.zeros((0, 3))


def told(part: nn.Module, model: Any, shapes: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    watched = UnfitParts()
    watched.note(part, [(name, mx.zeros(shape)) for name, shape in shapes.items()])
    watched.report(model, lambda kind, parts: sent.extend(parts))
    return sent


def test_a_part_of_another_width_is_told_by_the_name_that_the_model_has_for_it() -> None:
    model = Whole()
    (found,) = told(model.codec, model, {"weight": (8, 6), "bias": (8,)})
    assert (found["part"], found["class_name"], found["tensors"], found["matched"]) == ("model.codec", "Linear", 1, 1)
    assert (found["example"], found["expected"], found["received"]) == ("weight", [8, 4], [8, 6])


@pytest.mark.parametrize("shapes", [{"weight": (8, 4)}, {"weight": (8, 4), "gain": (1,)}, {}])
def test_what_fits_or_is_not_given_is_not_told(shapes: dict[str, tuple[int, ...]]) -> None:
    model = Whole()
    assert told(model.codec, model, shapes) == []


def test_a_place_without_elements_takes_any_shape_and_a_part_that_is_not_kept_does_not_count() -> None:
    model = Whole()
    assert told(model, model, {"kept": (5, 3)}) == []
    assert told(nn.Linear(4, 8), model, {"weight": (8, 6)}) == []


def test_a_part_that_is_given_only_tensors_of_another_is_told_unless_its_own_come_too() -> None:
    model = Whole()
    (found,) = told(model.codec, model, {"model.embed.weight": (8, 4), "model.norm.weight": (4,)})
    assert (found["part"], found["tensors"], found["given"]) == ("model.codec", 2, 2)
    assert found["example"] == "model.embed.weight"
    watched, sent = UnfitParts(), []
    for name in ("model.embed.weight", "weight"):
        watched.note(model.codec, [(name, mx.zeros((8, 4)))])
    watched.report(model, lambda kind, parts: sent.extend(parts))
    assert sent == []
