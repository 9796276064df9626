"""Tensor tables: spellings of types, and the table as the probe reports it."""

from __future__ import annotations

import pytest

from mlx_diagnose.collectors.tensors import (
    DTYPE_BITS,
    SAFETENSORS_DTYPES,
    TensorInfo,
    dtype_name,
    shape_text,
    table_from_json,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("F32", "float32"),
        ("mlx.core.bfloat16", "bfloat16"),
        ("torch.float16", "float16"),
        ("uint32", "uint32"),
        ("BOOL", "bool"),
        ("mlx.core.bool_", "bool"),
        ("strange", "strange"),
    ],
)
def test_spellings_of_types(text: str, name: str) -> None:
    assert dtype_name(text) == name


def test_every_type_has_a_size_and_mlx_knows_the_same() -> None:
    assert set(SAFETENSORS_DTYPES.values()) == set(DTYPE_BITS)
    mx = pytest.importorskip("mlx.core")
    for name, bits in DTYPE_BITS.items():
        theirs = getattr(mx, "bool_" if name == "bool" else name, None)
        assert theirs is None or theirs.size * 8 == bits


def test_table_of_the_probe() -> None:
    table = table_from_json({"a": ["uint32", [4, 2]], "b": ["BF16", []], "c": ["uint32", [4, 2]]})
    assert table == {
        "a": TensorInfo("uint32", (4, 2)),
        "b": TensorInfo("bfloat16", ()),
        "c": TensorInfo("uint32", (4, 2)),
    }
    assert (table["a"].elements, table["b"].elements) == (8, 1)


@pytest.mark.parametrize(
    "entry", [None, 5, [], ["F32"], ["F32", 4], ["F32", [-1]], ["F32", [True]], [4, [4]], ["F32", ["4"]]]
)
def test_what_is_no_table_is_refused_by_name(entry: object) -> None:
    with pytest.raises(ValueError, match=r"tensor 'layers\.0' is"):
        table_from_json({"layers.0": entry})


def test_shapes_read_as_in_messages_of_mlx() -> None:
    assert [shape_text(shape) for shape in [(), (4,), [64, 3, 64]]] == ["()", "(4,)", "(64, 3, 64)"]
