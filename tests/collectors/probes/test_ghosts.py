"""Reading the values of a ghost is told; shapes pass through it, and real arrays are read as ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from mlx_diagnose.collectors.probes.ghosts import ValueDependent, refuse_reads
from mlx_diagnose.engine.specimen import write_safetensors

mx = pytest.importorskip("mlx.core")


@pytest.fixture
def ghost(tmp_path: Path) -> Any:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"weight": ("F32", (4, 6))})
    return mx.load(str(file))["weight"]


@pytest.mark.parametrize(
    ("operation", "read"),
    [
        ("item", lambda ghost: ghost[0, 0].item()),
        ("tolist", lambda ghost: ghost.T.tolist()),
        ("bool", lambda ghost: 1 if (ghost > 0).any() else 0),
        ("float", lambda ghost: float(ghost.sum())),
        ("numpy.array", lambda ghost: numpy.array(ghost)),
        ("numpy.asarray", lambda ghost: numpy.asarray(ghost.reshape(-1))),
    ],
)
def test_reading_a_value_is_refused_with_the_line_that_reads(
    ghost: Any, operation: str, read: Callable[[Any], object]
) -> None:
    with pytest.raises(ValueDependent) as error, refuse_reads():
        read(ghost)
    assert error.value.operation == operation
    assert error.value.file == __file__


def test_shapes_types_and_quantisation_pass_through(ghost: Any) -> None:
    with refuse_reads():
        assert mx.split(ghost, 2, axis=1)[1].shape == (4, 3)
        assert mx.concatenate([ghost, ghost]).astype(mx.float16).dtype == mx.float16
        packed, scales, biases = mx.quantize(mx.broadcast_to(ghost[:, :1], (4, 64)), group_size=64, bits=4)
        assert (packed.shape, scales.shape, biases.shape) == ((4, 8), (4, 1), (4, 1))


def test_evaluating_leaves_ghosts_lazy_and_evaluates_the_rest(ghost: Any) -> None:
    real = mx.ones((2,)) + 1
    with refuse_reads():
        mx.eval({"nested": [ghost * 2, real]}, ghost)
        mx.async_eval(ghost)
        assert real.tolist() == [2, 2]
        with pytest.raises(ValueDependent):
            ghost.tolist()


def test_arrays_that_are_no_ghosts_are_read(ghost: Any) -> None:
    with refuse_reads():
        assert mx.array([1, 2]).tolist() == [1, 2]
        assert bool(mx.zeros((2,)).sum() == 0)
        assert numpy.array(mx.ones((2,))).sum() == 2


def test_everything_is_as_before_afterwards(ghost: Any) -> None:
    before = (mx.eval, mx.array.item, numpy.array)
    with refuse_reads():
        assert mx.eval is not before[0]
    assert (mx.eval, mx.array.item, numpy.array) == before
    assert ghost.tolist() == [[0.0] * 6] * 4
