"""The type of MLX that a tensor of another type is cast to."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.engine.specimen import write_safetensors
from mlx_diagnose.engine.weight_types import SCALED, Casting, castings

FLOAT32 = [struct.unpack("<f", struct.pack("<f", 0.1 * n + 0.013))[0] for n in range(1, 65)]
BFLOAT16 = [struct.unpack("<f", struct.pack("<I", 0x3C80_0000 + (n << 16)))[0] for n in range(64)]
FLOAT16 = [struct.unpack("<e", struct.pack("<H", 0x2C01 + 7 * n))[0] for n in range(64)]


def stored(directory: Path, *tensors: tuple[str, Sequence[float]]) -> dict[str, TensorInfo]:
    """A file of float64 tensors, and its table."""
    path = directory / "model.safetensors"
    write_safetensors(path, {name: ("F64", (len(values),)) for name, values in tensors})
    with path.open("r+b") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        for _, values in tensors:
            file.write(struct.pack(f"<{len(values)}d", *values))
    return {name: TensorInfo("float64", (len(values),), path.name) for name, values in tensors}


@pytest.mark.parametrize(
    ("values", "dtype"),
    [(FLOAT32, "float32"), (BFLOAT16, "bfloat16"), (FLOAT16, "float16"), ([1e-300, 0.1], "float32")],
)
def test_the_values_say_what_a_tensor_was(tmp_path: Path, values: Sequence[float], dtype: str) -> None:
    table = stored(tmp_path, ("w", values))
    # What config.json says of the whole model does not make a longer tensor shorter.
    assert list(castings(table, {"torch_dtype": "bfloat16"}, tmp_path, ghost=False)) == [Casting(dtype, ("w",), None)]


def test_values_of_every_type_go_by_their_like(tmp_path: Path) -> None:
    table = stored(tmp_path, ("h.0.g", [1.0] * 64), ("h.1.g", FLOAT16), ("w", BFLOAT16), ("u", BFLOAT16))
    found = {one.dtype: one.names for one in castings(table, {}, tmp_path, ghost=False)}
    assert found == {"float16": ("h.0.g", "h.1.g"), "bfloat16": ("w", "u")}


def test_without_values_a_shorter_type_is_a_guess(tmp_path: Path) -> None:
    table = stored(tmp_path, ("w", BFLOAT16)) | {"u": TensorInfo("bfloat16", (4,), "model.safetensors")}
    (one,) = castings(table, {}, tmp_path, ghost=True)
    assert one.dtype == "float32" and "ambiguous" in str(one.doubt)


def test_a_cast_does_not_apply_scales(tmp_path: Path) -> None:
    table = {
        "l.weight": TensorInfo("float8_e5m2", (4, 4), "m.safetensors"),
        "l.weight_scale_inv": TensorInfo("float32", (1,), "m.safetensors"),
        "k.weight": TensorInfo("float8_e5m2", (4, 4), "m.safetensors"),
    }
    doubts = {one.names: one.doubt for one in castings(table, {}, tmp_path, ghost=False)}
    assert doubts == {("l.weight",): SCALED, ("k.weight",): None}
