"""Tensors without their values: type, shape and file by name.

Two spellings of types meet here: that of safetensors headers (``F32``) and that of MLX
(``float32``). Tables hold MLX's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor without its values. ``dtype`` in MLX's spelling; ``file`` relative to the model directory, if known."""

    dtype: str
    shape: tuple[int, ...]
    file: str | None = None

    @property
    def elements(self) -> int:
        return prod(self.shape)


#: Tensors by full name, in the order of their source.
TensorTable: TypeAlias = Mapping[str, TensorInfo]

#: Types of the safetensors format in MLX's spelling, and what MLX has no name for in the field's.
#: https://github.com/huggingface/safetensors/blob/main/safetensors/src/tensor.rs (Dtype)
SAFETENSORS_DTYPES: Mapping[str, str] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F6_E2M3": "float6_e2m3",
    "F6_E3M2": "float6_e3m2",
    "F4": "float4",
}

#: Bits of an element by type.
DTYPE_BITS: Mapping[str, int] = {
    **dict.fromkeys(("bool", "uint8", "int8"), 8),
    **dict.fromkeys(("uint16", "int16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("uint32", "int32", "float32"), 32),
    **dict.fromkeys(("uint64", "int64", "float64", "complex64"), 64),
    **{name: 8 for name in SAFETENSORS_DTYPES.values() if name.startswith("float8")},
    "float6_e2m3": 6,
    "float6_e3m2": 6,
    "float4": 4,
}


def dtype_name(text: str) -> str:
    """``F32``, ``mlx.core.float32`` and ``torch.float32`` as ``float32``; what is not known stays as it is."""
    known = SAFETENSORS_DTYPES.get(text)
    if known is not None:
        return known
    name = text.rsplit(".", 1)[-1]
    return "bool" if name == "bool_" else name


_SAFETENSORS_NAMES = {name: text for text, name in SAFETENSORS_DTYPES.items()}


def safetensors_dtype(name: str) -> str:
    """``float32`` as ``F32``. Raises ValueError for a type that the format does not have."""
    if name not in _SAFETENSORS_NAMES:
        raise ValueError(f"safetensors has no type {name!r}")
    return _SAFETENSORS_NAMES[name]


def table_from_json(data: Mapping[str, object]) -> dict[str, TensorInfo]:
    """The table of ``{name: [dtype, [axis, ...]]}``, as the probe reports it.

    Raises ValueError, naming the entry, for anything else.
    """
    infos: dict[tuple[str, tuple[int, ...]], TensorInfo] = {}
    table: dict[str, TensorInfo] = {}
    for name, entry in data.items():
        match entry:
            case [str() as dtype, [*axes]] if all(type(axis) is int and axis >= 0 for axis in axes):
                shape = tuple(axis for axis in axes if isinstance(axis, int))
            case _:
                raise ValueError(f"tensor {name!r} is {entry!r}, not [dtype, [axis, ...]]")
        info = infos.get((dtype, shape))
        if info is None:
            info = infos[dtype, shape] = TensorInfo(dtype_name(dtype), shape)
        table[name] = info
    return table


def shape_text(shape: Sequence[int]) -> str:
    """``(64, 3, 64)``, ``(64,)``, ``()``: as MLX's own messages show shapes."""
    return str(tuple(shape))
