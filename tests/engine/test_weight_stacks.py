"""Which numbered tensors make up one of the model."""

from __future__ import annotations

from typing import Any

from mlx_diagnose.adapters.weight_map import result
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.weights_difference import Difference, compare
from mlx_diagnose.engine.weight_patterns import on_stacks
from mlx_diagnose.engine.weight_stacks import Stacking, stackings


def table(shapes: dict[str, tuple[int, ...]]) -> dict[str, TensorInfo]:
    return {name: TensorInfo("float32", shape) for name, shape in shapes.items()}


def found(received: dict[str, TensorInfo], model: dict[str, TensorInfo], prefix: str = "") -> list[Stacking]:
    """What ``received`` lacks as whole tensors of ``model``; sanitize has taken ``prefix`` from the stored names."""
    seen = compare(received, model)
    names = {f"{prefix}{name}": name for name in received}
    return list(stackings(Difference(seen.missing, seen.unexpected, seen.shape, names=names), received, model))


def applied(operations: list[dict[str, Any]], stored: dict[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    """The shapes of what ``operations`` make of ``stored``."""
    made = result(operations, {name: (info.dtype, info.shape) for name, info in stored.items()})
    return {name: shape for name, (_, shape) in made.items()}


def experts(count: int, layers: int = 2) -> dict[str, TensorInfo]:
    return table({f"layers.{i}.experts.{e}.up.weight": (8, 4) for i in range(layers) for e in range(count)})


WHOLE = table({f"layers.{i}.experts.up.weight": (3, 8, 4) for i in range(2)})


def test_experts_that_are_numbered_from_zero_are_one_tensor_of_their_layer() -> None:
    stored = experts(3)
    stacks = found(stored, WHOLE)
    assert [(one.whole, one.place) for one in stacks] == [(name, 1) for name in WHOLE]
    operations = on_stacks([(one.members, one.place, one.whole) for one in stacks], stored.keys())
    assert operations == [
        {
            "op": "stack",
            "from": "layers.{i}.experts.{e}.up.weight",
            "over": "e",
            "axis": 0,
            "to": "layers.{i}.experts.up.weight",
        }
    ]
    assert applied(operations, stored) == {name: info.shape for name, info in WHOLE.items()}


def test_names_are_those_of_the_file() -> None:
    stacks = found(experts(3, layers=1), {name: info for name, info in WHOLE.items() if ".0." in name}, "model.")
    assert [(one.members[0], one.received) for one in stacks] == [
        ("model.layers.0.experts.0.up.weight", "layers.0.experts.0.up.weight")
    ]


def test_too_few_and_too_many_are_no_stack() -> None:
    assert found(experts(2), WHOLE) == []
    assert found(experts(4), WHOLE) == []


def test_others_of_one_layer_only_are_left_alone() -> None:
    stored = experts(3) | table({"layers.2.experts.0.up.weight": (8, 4)})
    stacks = found(stored, WHOLE)
    operations = on_stacks([(one.members, one.place, one.whole) for one in stacks], stored.keys())
    assert "layers.2.experts.0.up.weight" in applied(operations, stored)
