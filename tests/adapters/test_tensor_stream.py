"""Recipes carried out on bytes give what NumPy and MLX give; in pieces, whatever their size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_diagnose.adapters import tensor_stream
from mlx_diagnose.adapters.tensor_recipe import Cast, Computed, Joined, Part, Recipe, Stored, Transposed
from mlx_diagnose.adapters.tensor_stream import stream
from mlx_diagnose.adapters.tensor_values import converted
from mlx_diagnose.adapters.tensor_views import form

_DTYPES = {"uint8": np.uint8, "int16": np.int16, "float32": np.float32, "float64": np.float64}


@st.composite
def _recipes(draw: st.DrawFn) -> tuple[Recipe, dict[str, np.ndarray[Any, Any]]]:
    """A recipe, and the arrays that it is made of."""
    dtype = draw(st.sampled_from(list(_DTYPES)))
    arrays: dict[str, np.ndarray[Any, Any]] = {}

    def leaf(shape: tuple[int, ...]) -> Recipe:
        name = f"t{len(arrays)}"
        count = int(np.prod(shape, dtype=int))
        arrays[name] = (np.arange(count) + 7 * len(arrays)).astype(_DTYPES[dtype]).reshape(shape)
        return Stored(name, dtype, shape)

    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    recipe = leaf(shape)
    for _ in range(draw(st.integers(0, 4))):
        what = draw(st.sampled_from(["transpose", "part", "join", "stack"]))
        axis = draw(st.integers(0, len(recipe.shape) - 1))
        if what == "transpose":
            recipe = Transposed(recipe, tuple(draw(st.permutations(range(len(recipe.shape))))))
        elif what == "part":
            start = draw(st.integers(0, recipe.shape[axis]))
            recipe = Part(recipe, axis, start, draw(st.integers(start, recipe.shape[axis])))
        elif what == "join":
            other = (*recipe.shape[:axis], draw(st.integers(1, 3)), *recipe.shape[axis + 1 :])
            recipe = Joined((recipe, leaf(other)), axis, False)
        elif len(recipe.shape) < 6:
            recipe = Joined((leaf(recipe.shape), recipe), axis, True)
    return recipe, arrays


def _expected(recipe: Recipe, arrays: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    if isinstance(recipe, Stored):
        return arrays[recipe.name]
    if isinstance(recipe, Transposed):
        return _expected(recipe.of, arrays).transpose(recipe.axes)
    if isinstance(recipe, Part):
        return _expected(recipe.of, arrays).take(range(recipe.start, recipe.stop), recipe.axis)
    assert isinstance(recipe, Joined)
    parts = [_expected(part, arrays) for part in recipe.parts]
    return np.stack(parts, recipe.axis) if recipe.stacked else np.concatenate(parts, recipe.axis)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path: Path = tmp_path_factory.mktemp("stream") / "body"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@settings(deadline=None, max_examples=300)
@given(made=_recipes(), block=st.sampled_from([1, 7, 64, 1 << 20]), with_numpy=st.sampled_from([0, 1 << 20]))
def test_reordering_cutting_and_joining(
    scratch: int, made: tuple[Recipe, dict[str, np.ndarray[Any, Any]]], block: int, with_numpy: int
) -> None:
    recipe, arrays = made
    places = {}
    at = 3  # nothing is aligned
    for name, values in arrays.items():
        places[name] = at
        os.pwrite(scratch, values.tobytes(), at)
        at += values.nbytes
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensor_stream, "BLOCK", block)
        patched.setattr(tensor_stream, "WITH_NUMPY", with_numpy)
        patched.setattr(tensor_stream, "PIECE", min(block, 16))
        data = b"".join(stream(form(recipe), lambda name: (scratch, places[name])))
    expected = _expected(recipe, arrays)
    assert expected.shape == recipe.shape
    assert data == np.ascontiguousarray(expected).tobytes()


_FLOATS = np.array(
    [0.0, -0.0, 1.0, -1.5, 3.0e38, -3.0e38, 1e-40, 65519.0, 65520.0, 1.00390625, 1.01171875, np.inf, -np.inf, 1e-8],
    dtype=np.float32,
)


@pytest.mark.parametrize("target", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("source", ["float32", "float16", "bfloat16", "int32", "uint8", "bool"])
def test_conversion_is_that_of_mlx(source: str, target: str) -> None:
    mx = pytest.importorskip("mlx.core")
    values = _FLOATS if "float" in source else np.arange(-3, 11)
    array = mx.array(values).astype(getattr(mx, "bool_" if source == "bool" else source))
    wanted = array.astype(getattr(mx, target))
    stored = np.array(array.view(mx.uint16)) if source == "bfloat16" else np.array(array)
    result = converted(stored.tobytes(), source, target)
    expected = np.array(wanted.view(mx.uint16)) if target == "bfloat16" else np.array(wanted)
    assert result == expected.tobytes()


def test_wide_and_narrow_types_that_mlx_cannot_read() -> None:
    assert converted(np.array([1.5, 1e300]).tobytes(), "float64", "float32") == np.array([1.5, np.inf], "f").tobytes()
    assert np.frombuffer(converted(bytes([0x38, 0xB8, 0x7E, 0x01]), "float8_e4m3", "float32"), "f").tolist() == [
        1.0,
        -1.0,
        448.0,
        2.0**-9,
    ]
    assert np.frombuffer(converted(bytes([0x3C, 0x7B, 0xFC]), "float8_e5m2", "float32"), "f").tolist() == [
        1.0,
        57344.0,
        -np.inf,
    ]
    assert np.frombuffer(converted(np.array([300, -1]).tobytes(), "int64", "uint8"), np.uint8).tolist() == [44, 255]


@pytest.mark.parametrize("shape", [(), (5,), (2, 5)])
def test_computed_buffers(shape: tuple[int, ...]) -> None:
    def values(how: str, value: float, dtype: str = "float32") -> list[float]:
        data = b"".join(stream(form(Computed(how, dtype, shape, value)), lambda _: (0, 0)))
        return np.frombuffer(data, np.dtype(dtype)).reshape(shape).tolist()  # type: ignore[no-any-return]

    assert values("constant", 2) == np.full(shape, 2.0).tolist()
    if shape:
        assert values("arange", 3, "int32") == np.broadcast_to(np.arange(3, 8), shape).tolist()
        frequencies = np.broadcast_to((10000.0 ** (-np.arange(5) / 5)).astype("f"), shape)
        assert values("inverse-frequencies", 10000) == frequencies.tolist()


def test_a_cast_of_a_reordered_view(scratch: int) -> None:
    values = np.arange(12, dtype=np.float64).reshape(3, 4)
    os.pwrite(scratch, values.tobytes(), 0)
    recipe = Transposed(Cast(Stored("t", "float64", (3, 4)), "float32"), (1, 0))
    data = b"".join(stream(form(recipe), lambda _: (scratch, 0)))
    assert data == np.ascontiguousarray(values.T.astype("f")).tobytes()
