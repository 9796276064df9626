"""Specimens: what is written is what safetensors and MLX read."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.specimen import ITEM_SIZES, byte_size, collapse, expand, write_safetensors, write_sharded

_NAMES_IN_MLX = {
    "BOOL": mx.bool_,
    "U8": mx.uint8,
    "I8": mx.int8,
    "U16": mx.uint16,
    "I16": mx.int16,
    "F16": mx.float16,
    "BF16": mx.bfloat16,
    "U32": mx.uint32,
    "I32": mx.int32,
    "F32": mx.float32,
    "U64": mx.uint64,
    "I64": mx.int64,
    "C64": mx.complex64,
}


def test_a_hole_has_full_size_and_no_blocks(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"embed.weight": ("BF16", (200_000, 4096)), "norm.weight": ("F32", (4096,))})
    assert file.stat().st_size > 200_000 * 4096 * 2
    assert file.stat().st_blocks * 512 < 1_000_000
    loaded = mx.load(str(file))
    assert {name: (value.dtype, value.shape) for name, value in loaded.items()} == {
        "embed.weight": (mx.bfloat16, (200_000, 4096)),
        "norm.weight": (mx.float32, (4096,)),
    }


@pytest.mark.parametrize("dtype", sorted(_NAMES_IN_MLX))
def test_random_values_are_small_and_finite(tmp_path: Path, dtype: str) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"a": (dtype, (61, 17)), "b": (dtype, (3,))}, body="random")
    value = mx.load(str(file))["a"]
    assert value.dtype == _NAMES_IN_MLX[dtype]
    assert value.shape == (61, 17)
    if dtype == "U32":
        return
    numbers = value.astype(mx.float32) if dtype != "C64" else mx.abs(value)
    assert float(mx.max(mx.abs(numbers))) < 16
    assert math.isfinite(float(mx.sum(numbers)))
    assert float(mx.max(numbers)) != float(mx.min(numbers))


@pytest.mark.parametrize("dtype", ["F64", "F8_E4M3"])
def test_types_that_mlx_may_not_load_are_small_too(tmp_path: Path, dtype: str) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"a": (dtype, (100,))}, body="random")
    content = file.read_bytes()[-100 * ITEM_SIZES[dtype] :]
    if dtype == "F64":
        assert all(0 < abs(number) < 1 for number in struct.unpack("<100d", content))
    else:
        assert all(byte & 0x7F < 0x20 for byte in content)  # 2 ** -3 at most


def test_random_bodies_depend_on_seed_and_name_only(tmp_path: Path) -> None:
    one, same, other = (tmp_path / f"{name}.safetensors" for name in "abc")
    write_safetensors(one, {"a": ("F32", (9,))}, body="random", seed=1)
    write_safetensors(same, {"a": ("F32", (9,))}, body="random", seed=1)
    write_safetensors(other, {"a": ("F32", (9,))}, body="random", seed=2)
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()


def test_header_is_aligned_and_keeps_metadata(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"ä": ("U8", (3,))}, metadata={"format": "mlx"})
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    assert json.loads(content[8 : 8 + length]) == {
        "__metadata__": {"format": "mlx"},
        "ä": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
    }
    assert len(content) == 8 + length + 3


def test_random_body_larger_than_a_chunk_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_safetensors(file, {"a": ("F32", (300_001,))}, body="random")
    assert math.isfinite(float(mx.sum(mx.load(str(file))["a"])))


def test_a_sample_of_random_values_leaves_the_rest_a_hole(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tensors = {"a": ("F32", (100_000,)), "b": ("BF16", (2,)), "c": ("F32", (10_000,))}
    write_safetensors(file, tensors, body="random", random_bytes=4001)
    loaded = mx.load(str(file))
    for name in "ac":
        assert float(mx.min(mx.abs(loaded[name][:1000]))) > 0
        assert float(mx.max(mx.abs(loaded[name][1000:]))) == 0
    assert float(mx.min(mx.abs(loaded["b"]))) > 0


def test_shards_hold_everything_once_and_the_index_says_where(tmp_path: Path) -> None:
    tensors = {f"layers.{number}.weight": ("BF16", (4, number + 1)) for number in range(7)}
    files = write_sharded(tmp_path, tensors, shards=3)
    assert files == tuple(f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(map(byte_size, tensors.values()))
    loaded = {file: mx.load(str(tmp_path / file)) for file in files}
    assert {name: file for file, part in loaded.items() for name in part} == index["weight_map"]
    assert {name: value.shape for part in loaded.values() for name, value in part.items()} == {
        name: shape for name, (_, shape) in tensors.items()
    }


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown safetensors type 'float32'"):
        write_safetensors(tmp_path / "model.safetensors", {"a": ("float32", (1,))})
    with pytest.raises(ValueError, match="negative axis"):
        byte_size(("F32", (-1,)))
    with pytest.raises(ValueError, match="1 tensors cannot be split into 2 files"):
        write_sharded(tmp_path, {"a": ("F32", (1,))}, shards=2)


def test_collapse_merges_layers_and_keeps_unequal_shapes_apart() -> None:
    table = collapse(
        {
            **{f"layers.{layer}.heads.{head}.weight": ("F32", (2, 2)) for layer in range(3) for head in range(4)},
            **{f"layers.{layer}.bias": ("F32", (2,)) for layer in (0, 1, 4)},
            "layers.2.bias": ("BF16", (2,)),
            "steps.007": ("F32", ()),
        }
    )
    assert table == {
        "layers.{0..2}.heads.{0..3}.weight": ("F32", (2, 2)),
        "layers.{0..1}.bias": ("F32", (2,)),
        "layers.4.bias": ("F32", (2,)),
        "layers.2.bias": ("BF16", (2,)),
        "steps.007": ("F32", ()),
    }


_PART = st.sampled_from(["layers", "0", "1", "2", "3", "10", "11", "01", "w"])
_TENSORS = st.dictionaries(
    st.lists(_PART, min_size=1, max_size=4).map(".".join),
    st.tuples(st.sampled_from(["F32", "BF16"]), st.sampled_from([(1,), (2, 2)])),
    max_size=40,
)


@given(_TENSORS)
def test_expand_is_the_inverse_of_collapse(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    assert expand(collapse(tensors)) == tensors
