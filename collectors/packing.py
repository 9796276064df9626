"""How MLX packs quantised weights, told from shapes alone.

``mx.quantize`` packs ``bits`` bits an element into uint32 words along the last axis and keeps a
scale for each group of elements: of ``width`` elements a row, ``width * bits / 32`` columns of
weight and ``width / group_size`` columns of scales. The two widths fix the product
``bits * group_size`` and no more: 4 bits in groups of 64 look like 8 bits in groups of 32, over rows half
as long. What the model takes the width of the layer to be decides it.

Measured with mlx 0.32: affine has scales and biases of a floating type; mxfp4, mxfp8 and
nvfp4 have uint8 scales and no biases, and each one packing only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlx_diagnose.collectors.tensors import TensorInfo, TensorTable

#: What ``mx.quantize`` takes for mode affine (1 bit since mlx 0.32).
AFFINE_BITS = (1, 2, 3, 4, 5, 6, 8)
AFFINE_GROUP_SIZES = (32, 64, 128)


@dataclass(frozen=True, slots=True, order=True)
class Packing:
    """One way to quantise a layer."""

    mode: str
    bits: int
    group_size: int

    def __str__(self) -> str:
        """``4/64`` for affine, ``mxfp4 4/32`` for others."""
        pair = f"{self.bits}/{self.group_size}"
        return pair if self.mode == "affine" else f"{self.mode} {pair}"

    def groups_as(self, other: Packing | None) -> bool:
        """The same but for bits."""
        return other is not None and (self.mode, self.group_size) == (other.mode, other.group_size)


#: What a mode takes when bits or group size are not given (``mlx.nn.layers.quantized._defaults_for_mode``).
DEFAULTS: Mapping[str, Packing] = {
    "affine": Packing("affine", 4, 64),
    "mxfp4": Packing("mxfp4", 4, 32),
    "mxfp8": Packing("mxfp8", 8, 32),
    "nvfp4": Packing("nvfp4", 4, 16),
}

_AFFINE = tuple(Packing("affine", bits, size) for size in AFFINE_GROUP_SIZES for bits in AFFINE_BITS)
_MICROSCALED = tuple(packing for mode, packing in DEFAULTS.items() if mode != "affine")


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer with packed weight and scales. ``path`` is the module's, widths are columns, ``rows`` all other axes."""

    path: str
    rows: tuple[int, ...]
    packed_width: int
    scales_width: int
    candidates: tuple[Packing, ...]


def candidates(weight: TensorInfo, scales: TensorInfo) -> tuple[Packing, ...]:
    """Every packing that these shapes allow, smaller group sizes first."""
    if not weight.shape or not scales.shape or not weight.shape[-1] or not scales.shape[-1]:
        return ()
    known = _MICROSCALED if scales.dtype == "uint8" else _AFFINE
    bits_in_row, groups = weight.shape[-1] * 32, scales.shape[-1]
    return tuple(packing for packing in known if groups * packing.bits * packing.group_size == bits_in_row)


def packed_layers(table: TensorTable) -> Iterator[PackedLayer]:
    """The layers of ``table`` that are quantised: a uint32 weight with scales beside it."""
    for name, scales in table.items():
        if name != "scales" and not name.endswith(".scales"):
            continue
        weight = table.get(f"{name[: -len('scales')]}weight")
        if weight is not None and weight.dtype == "uint32" and weight.shape and scales.shape:
            yield PackedLayer(
                name[: -len(".scales")],
                weight.shape[:-1],
                weight.shape[-1],
                scales.shape[-1],
                candidates(weight, scales),
            )


def logical_width(path: str, model: TensorTable, declared: Packing | None) -> int | None:
    """The elements a row that the model gives the layer at ``path``, None where it does not tell.

    A plain weight tells by its last axis. One that the model has quantised itself tells
    through ``declared``, by which it did so.
    """
    weight = model.get(joined(path, "weight"))
    if weight is None or not weight.shape:
        return None
    if weight.dtype != "uint32":
        return weight.shape[-1]
    scales = model.get(joined(path, "scales"))
    if scales is None:
        return None
    readings = candidates(weight, scales)
    if declared in readings:
        return scales.shape[-1] * declared.group_size
    return scales.shape[-1] * readings[0].group_size if len(readings) == 1 else None


def joined(path: str, name: str) -> str:
    """The tensor ``name`` of the module at ``path``."""
    return f"{path}.{name}" if path else name
