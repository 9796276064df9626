"""How each quantised layer of a checkpoint is packed, as far as shapes, model and config tell together."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_diagnose.collectors.packing import PackedLayer, Packing, logical_width, packed_layers
from mlx_diagnose.collectors.quantization_block import Block, Entry
from mlx_diagnose.collectors.tensor_renames import align
from mlx_diagnose.collectors.tensors import TensorTable


@dataclass(frozen=True, slots=True)
class Reading:
    """A packed layer as read: what the block says of it, and how it is packed as far as that can be told.

    ``name`` is the module's path after sanitize. ``width``: elements a row in the model.
    ``certain``: nothing but ``actual`` explains the shapes.
    """

    layer: PackedLayer
    name: str
    declared: Entry | None
    actual: Packing | None
    width: int | None
    certain: bool

    @property
    def agrees(self) -> bool:
        """The block says what the shapes show, or they allow what it says and nothing shows otherwise."""
        packing = self.declared.packing if self.declared is not None else None
        if packing is None:
            return False
        if self.actual is not None:
            return packing == self.actual
        return packing in self.layer.candidates or not self.layer.candidates

    def bits(self, declared: Packing | None) -> int | None:
        """The bits of the layer, going by the groups of ``declared`` where the shapes leave a choice."""
        if self.actual is not None:
            return self.actual.bits
        fitting = {packing.bits for packing in self.layer.candidates if packing.groups_as(declared)}
        return fitting.pop() if len(fitting) == 1 else None


def read_layers(
    stored: TensorTable, sanitized: TensorTable | None, model: TensorTable | None, block: Block | None
) -> list[Reading]:
    """A reading of each packed layer of ``stored``, in its order. The other tables may be unknown (None)."""
    names = _module_names(stored, sanitized)
    trusted = model is not None and _widths_agree(stored if sanitized is None else sanitized, model)
    return [_read(layer, names.get(layer.path, layer.path), block, model, trusted) for layer in packed_layers(stored)]


def _module_names(stored: TensorTable, sanitized: TensorTable | None) -> dict[str, str]:
    """What the packed modules are called after sanitize."""
    if sanitized is None:
        return {}
    # Only packed weights are compared, so that this stays small.
    before = {name: info for name, info in stored.items() if info.dtype == "uint32"}
    after = {name: info for name, info in sanitized.items() if info.dtype == "uint32"}
    ending = ".weight"
    return {
        old.removesuffix(ending): new.removesuffix(ending)
        for old, new in align(before, after).items()
        if old.endswith(ending) and new.endswith(ending)
    }


def _widths_agree(received: TensorTable, model: TensorTable) -> bool:
    """No plain vector (norm, bias) has another length than the model's: its widths are the checkpoint's."""
    vectors = [
        (info, model[name])
        for name, info in received.items()
        if len(info.shape) == 1 and name in model and not name.endswith((".scales", ".biases"))
    ]
    return bool(vectors) and all(info.shape == other.shape for info, other in vectors)


def _read(layer: PackedLayer, name: str, block: Block | None, model: TensorTable | None, trusted: bool) -> Reading:
    declared = block.of(name, layer.path) if block is not None else None
    packing = declared.packing if declared is not None else None
    width = logical_width(name, model, packing) if model is not None else None
    fitting = [reading for reading in layer.candidates if layer.scales_width * reading.group_size == width]
    if len(layer.candidates) == 1:
        return Reading(layer, name, declared, layer.candidates[0], width, True)
    if len(fitting) == 1:
        # If the block fits the shapes as well, the width that the model takes may be what is wrong.
        return Reading(layer, name, declared, fitting[0], width, trusted or packing not in layer.candidates)
    return Reading(layer, name, declared, None, width, False)
