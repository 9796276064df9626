"""Orders of axes that shapes do not tell are told by tensors of the same kind, or by nothing."""

from __future__ import annotations

from dataclasses import replace

from mlx_diagnose.collectors.tensor_layouts import taken
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.weights_difference import compare
from mlx_diagnose.engine.weight_layouts import EQUAL_AXES, Moving, movings

SWAP = (0, 2, 1)
#: The second has equal axes.
MODEL = {"up.0.w": (32, 4, 16), "up.1.w": (16, 8, 8), "up.2.w": (8, 4, 6), "up.3.w": (4, 3, 5)}


def table(shapes: dict[str, tuple[int, ...]]) -> dict[str, TensorInfo]:
    return {name: TensorInfo("float32", shape) for name, shape in shapes.items()}


def found(stored: dict[str, tuple[int, ...]], by_sanitize: tuple[int, ...] = (0, 1, 2)) -> list[Moving]:
    """What is found of ``stored`` tensors, all of which sanitize takes in one order."""
    given = table({name: taken(shape, by_sanitize) for name, shape in stored.items()})
    difference = replace(compare(given, table(MODEL)), names={name: name for name in stored})
    return list(movings(table(stored), difference, given, table(MODEL)))


def test_an_equal_one_goes_with_all_others_of_its_kind() -> None:
    (moving,) = found({name: taken(shape, SWAP) for name, shape in MODEL.items()})
    assert moving.doubt is None
    assert {name for names in moving.ways[0].values() for name in names} == set(MODEL)


def test_it_stays_where_most_of_its_kind_are_right() -> None:
    (moving,) = found({**MODEL, "up.0.w": taken(MODEL["up.0.w"], SWAP)})
    assert moving.doubt is None
    assert moving.ways[0] == {SWAP: ["up.0.w"]}


def test_nothing_tells_where_its_kind_does_not_agree() -> None:
    moved = {"up.0.w": taken(MODEL["up.0.w"], SWAP), "up.2.w": taken(MODEL["up.2.w"], SWAP)}
    (moving,) = found({**MODEL, **moved})
    assert moving.doubt is not None and "up.1.w" in moving.doubt


def test_what_sanitize_moves_it_moves_unseen_as_well() -> None:
    """Stored as the model has it, and sanitize takes axes as if it came from PyTorch."""
    (moving,) = found(MODEL, by_sanitize=SWAP)
    assert moving.doubt is None
    assert {name for names in moving.ways[0].values() for name in names} == set(MODEL)


def test_one_of_another_kind_is_in_doubt() -> None:
    given = {"up.0.w": (32, 16, 4), "up.2.w": (8, 6, 4), "gate.v": (16, 8, 8)}
    model = table({"up.0.w": (32, 4, 16), "up.2.w": (8, 4, 6), "gate.v": (16, 8, 8)})
    stored = table({"up.0.w": (32, 4, 16), "up.2.w": (8, 4, 6), "gate.v": (16, 8, 8)})
    difference = replace(compare(table(given), model), names={name: name for name in given})
    (moving,) = movings(stored, difference, table(given), model)
    assert moving.doubt == EQUAL_AXES


def test_the_order_to_store_is_that_which_sanitize_turns_into_the_one_that_is_wanted() -> None:
    """Sanitize takes (in, out, k) as (out, k, in); what is stored is (in, k, out)."""
    by_sanitize = (1, 2, 0)
    right = {name: taken(shape, (2, 0, 1)) for name, shape in MODEL.items()}
    assert all(taken(right[name], by_sanitize) == shape for name, shape in MODEL.items())
    stored = {**right, "up.0.w": taken(right["up.0.w"], SWAP)}
    (moving,) = found(stored, by_sanitize)
    assert moving.ways[0] == {SWAP: ["up.0.w"]}
