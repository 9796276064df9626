"""What a new model holds, as operations that store it, and what may not be stored."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

import pytest

from mlx_diagnose.adapters.tensor_stream import stream
from mlx_diagnose.adapters.tensor_views import form
from mlx_diagnose.adapters.weight_map import plan
from mlx_diagnose.engine.weight_buffers import CONSTANT, STARTS, Buffer, buffers


def told(
    values: Sequence[float], shape: Sequence[int] | None = None, *, trainable: bool = True, dtype: str = "float32"
) -> dict[str, Any]:
    """A buffer as the probe tells of it."""
    code = "f" if dtype == "float32" else "i"
    return {
        "dtype": dtype,
        "shape": list(shape or [len(values)]),
        "data": base64.b64encode(struct.pack(f"<{len(values)}{code}", *values)).decode(),
        "constant": len(set(values)) == 1,
        "trainable": trainable,
    }


def stored(buffer: Buffer, called: str = "b") -> bytes:
    """The bytes that the operations store."""
    (recipe,) = plan(buffer.operations(called), {}).values()
    return b"".join(stream(form(recipe), lambda _: (0, 0)))


@pytest.mark.parametrize(
    ("name", "value", "doubt"),
    [
        ("rope.inv_freq", told([1.0, 0.5]), None),
        ("head.window", told([0.0, 0.5, 1.0]), None),
        ("steps", told([0.0, 1.0], trainable=False), None),
        ("mixer.A_log", told([0.0, 0.7]), STARTS),
        ("stft.forward_basis", told([0.0, 0.0]), CONSTANT),
        ("scale_window", told([1.0]), CONSTANT),
    ],
)
def test_only_what_is_computed_and_no_weight_is_without_doubt(
    name: str, value: dict[str, Any], doubt: str | None
) -> None:
    (buffer,) = buffers({name: value})
    assert buffer.doubt == doubt


@pytest.mark.parametrize("name", ["norm.weight", "linear.bias"])
def test_of_a_weight_that_begins_with_one_number_nothing_is_offered(name: str) -> None:
    assert buffers({name: told([1.0, 1.0])}) == []


def test_values_that_follow_a_formula_are_stored_as_one() -> None:
    (buffer,) = buffers({"position_ids": told(range(8), (1, 8), dtype="int32")})
    (operation,) = buffer.operations("position_ids")
    assert (operation["how"], operation["value"]) == ("arange", 0.0)
    assert stored(buffer) == buffer.data


@pytest.mark.parametrize("shape", [(64,), (1024,), (256, 4)])
def test_other_values_are_stored_as_they_are_in_parts_if_they_are_many(shape: tuple[int, ...]) -> None:
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    (buffer,) = buffers({"b.window": told([((n * 7919) % 4099) / 4099 for n in range(count)], shape)})
    operations = buffer.operations("b{x}.window")
    assert (len(operations) > 1) == (count > 64)
    assert list(plan(operations, {})) == ["b{x}.window"]
    assert stored(buffer) == buffer.data


def test_what_is_too_large_is_not_stored() -> None:
    (buffer,) = buffers({"freqs_cis": told([((n * 7919) % 4099) / 4099 for n in range(8192)])})
    assert buffer.operations("freqs_cis") == []
