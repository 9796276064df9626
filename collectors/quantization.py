"""Packing in the checkpoint against the quantization block of config.json and against the model.

mlx-audio quantises the model before loading, by what the block says and for the layers that
have ``.scales`` in the checkpoint, unless the model's own predicate or the group size keeps a
layer plain (``mlx_audio/utils.py::apply_quantization``). Where block, predicate and tensors
disagree, packed weights meet parameters of another width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from mlx_diagnose.collectors.config_edit import json_pointer
from mlx_diagnose.collectors.packing import Packing, joined
from mlx_diagnose.collectors.packing_readings import Reading, read_layers
from mlx_diagnose.collectors.quantization_block import KEYS, SETTINGS, Block, Entry, read_block
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Facts of one kind; layers that want an entry of their own.
MAX_FACTS = 100
MAX_ENTRIES = 2000


def collect(
    memory: WorkingMemory,
    *,
    stored: TensorTable,
    config: Mapping[str, object] | None,
    sanitized: TensorTable | None = None,
    model: TensorTable | None = None,
) -> list[Reading]:
    """Assert ``packed_layer`` and ``quantization_disagreement`` facts.

    ``stored``: tensors as the headers say; ``sanitized``: as given to ``load_weights``;
    ``model``: the model's parameters at that moment (None where the load did not come so far);
    ``config``: config.json as data, None where it could not be read.
    """
    block = read_block(config) if config is not None else None
    readings = read_layers(stored, sanitized, model, block)
    _assert_packing(memory, readings)
    if config is None or not stored:
        return readings
    if block is not None:
        _against_block(memory, block, readings, stored)
        if model is not None:
            _kept_plain(
                memory, block, readings, stored if sanitized is None else sanitized, model, sanitized is not None
            )
    elif readings and all(config.get(key) is None for key in KEYS):
        _undeclared(memory, readings)
    return readings


def collect_plain(memory: WorkingMemory, stored: TensorTable, config: Mapping[str, object]) -> None:
    """Assert ``declared-but-plain`` alone: what is told of a model that loads."""
    block = read_block(config)
    if block is not None and stored and not _has_scales(stored):
        _plain(memory, block)


def _has_scales(stored: TensorTable) -> bool:
    return any(name.endswith(".scales") for name in stored)


def _plain(memory: WorkingMemory, block: Block) -> None:
    _disagree(
        memory,
        "declared-but-plain",
        declared=str(block.top),
        actual="plain",
        key=block.key,
        layer=None,
        layers=0,
        certain=True,
    )


def _assert_packing(memory: WorkingMemory, readings: Sequence[Reading]) -> None:
    groups: dict[tuple[object, ...], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.actual, reading.layer.candidates), []).append(reading)
    for members in sorted(groups.values(), key=len, reverse=True)[:MAX_FACTS]:
        first = members[0]
        layer, actual = first.layer, first.actual
        modes = {packing.mode for packing in layer.candidates}
        memory.add(
            "packed_layer",
            Provenance("quantization", path=clean(layer.path)),
            bits=actual.bits if actual is not None else None,
            group_size=actual.group_size if actual is not None else None,
            mode=modes.pop() if len(modes) == 1 else "unknown",
            layers=len(members),
            example=clean(layer.path),
            packed_width=layer.packed_width,
            scales_width=layer.scales_width,
            candidates=",".join(f"{packing.bits}/{packing.group_size}" for packing in layer.candidates),
            logical_width=first.width,
        )


def _disagree(
    memory: WorkingMemory,
    aspect: str,
    *,
    declared: str | None,
    actual: str | None,
    key: str | None,
    layer: str | None,
    layers: int,
    certain: bool,
) -> None:
    if len(memory.of("quantization_disagreement")) < MAX_FACTS:
        memory.add(
            "quantization_disagreement",
            Provenance("quantization", path=key),
            aspect=aspect,
            declared=declared,
            actual=actual,
            key=clean(key) if key is not None else None,
            layer=clean(layer) if layer is not None else None,
            layers=layers,
            certain=certain,
        )


def _undeclared(memory: WorkingMemory, readings: Sequence[Reading]) -> None:
    for members in _grouped(readings):
        _disagree(
            memory,
            "undeclared",
            declared=None,
            actual=_actual(members[0]),
            key="quantization",
            layer=members[0].name,
            layers=len(members),
            certain=members[0].actual is not None and members[0].certain,
        )


def _against_block(memory: WorkingMemory, block: Block, readings: Sequence[Reading], stored: TensorTable) -> None:
    if block.lacks_bits:
        found = {reading.bits(block.top.packing) for reading in readings}
        bits = found.pop() if len(found) == 1 else None
        _disagree(
            memory,
            "missing-bits",
            declared=None,
            actual=str(bits) if bits is not None else None,
            key=f"{block.key}.bits",
            layer=readings[0].name if readings else None,
            layers=len(readings),
            certain=True,
        )
    if not readings and not _has_scales(stored):
        _plain(memory, block)
    else:
        _plain_overrides(memory, block, readings, stored)
    disagreeing = [reading for reading in readings if not reading.agrees]
    top = [reading for reading in disagreeing if reading.declared is block.top]
    # Where some layers are as the block says, the others lack an entry of their own.
    mixed = len(top) < sum(1 for reading in readings if reading.declared is block.top)
    for members in _grouped(disagreeing):
        of_top = [reading for reading in members if reading.declared is block.top]
        if of_top and not mixed:
            _settings_disagree(memory, block.top, of_top, skip_bits=block.lacks_bits)
        single = [reading for reading in members if mixed or reading.declared is not block.top]
        if single and not (block.lacks_bits and mixed):
            _layer_disagrees(memory, block, single)


def _grouped(readings: Iterable[Reading]) -> list[list[Reading]]:
    """Readings of one declaration and one packing together, the most layers first."""
    groups: dict[tuple[object, ...], list[Reading]] = {}
    for reading in readings:
        declared = str(reading.declared) if reading.declared is not None else None
        groups.setdefault((declared, reading.actual, reading.layer.candidates, reading.certain), []).append(reading)
    return sorted(groups.values(), key=len, reverse=True)


def _settings_disagree(memory: WorkingMemory, top: Entry, members: Sequence[Reading], *, skip_bits: bool) -> None:
    """One fact for each setting of the block that has to change."""
    first = members[0]
    possible = _possible(first, top.packing)
    if skip_bits and any(packing.groups_as(top.packing) for packing in possible):
        return
    for packing in possible:
        for name in SETTINGS:
            wanted = str(getattr(packing, name))
            if top.effective[name] == wanted or (skip_bits and name == "bits"):
                continue
            _disagree(
                memory,
                name,
                declared=top.settings.get(name),
                actual=wanted,
                key=f"{top.path}.{name}",
                layer=first.name,
                layers=len(members),
                certain=first.certain and first.actual is not None,
            )


def _possible(reading: Reading, declared: Packing | None) -> Sequence[Packing]:
    """What the layer may be packed as; of several, those that a single changed setting reaches."""
    if reading.actual is not None:
        return (reading.actual,)
    near = [
        packing
        for packing in reading.layer.candidates
        if declared is not None and sum(getattr(packing, name) != getattr(declared, name) for name in SETTINGS) == 1
    ]
    return near or reading.layer.candidates


def _layer_disagrees(memory: WorkingMemory, block: Block, members: Sequence[Reading]) -> None:
    first = members[0]
    if first.certain and first.actual is not None:
        for reading in members:
            _entry(memory, block, reading.name, settings(first.actual))
    _disagree(
        memory,
        "layer",
        declared=str(first.declared),
        actual=_actual(first),
        key=f"{block.key}.{first.name}",
        layer=first.name,
        layers=len(members),
        certain=first.certain and first.actual is not None,
    )


def settings(packing: Packing) -> dict[str, object]:
    """What the block says of a layer packed so."""
    mode = {} if packing.mode == "affine" else {"mode": packing.mode}
    return {"group_size": packing.group_size, "bits": packing.bits, **mode}


def _entry(memory: WorkingMemory, block: Block, layer: str, wanted: object) -> None:
    """One fact for an entry that a layer wants in the block, by its path in the model."""
    if len(memory.of("quantization_entry")) < MAX_ENTRIES and layer == clean(layer):
        memory.add(
            "quantization_entry",
            Provenance("quantization", path=layer),
            layer=layer,
            pointer=json_pointer((block.key, layer)),
            entry=json.dumps(wanted),
        )


def _plain_overrides(memory: WorkingMemory, block: Block, readings: Sequence[Reading], stored: TensorTable) -> None:
    """Layers that the block names as quantised and the checkpoint holds plain."""
    packed = {path for reading in readings for path in (reading.name, reading.layer.path)}
    plain = [
        path
        for path, entry in block.layers.items()
        if not entry.plain and path not in packed and joined(path, "weight") in stored
    ]
    for path in plain:
        _entry(memory, block, path, False)
    if plain:
        _disagree(
            memory,
            "layer",
            declared=str(block.layers[plain[0]]),
            actual="plain",
            key=block.layers[plain[0]].path,
            layer=plain[0],
            layers=len(plain),
            certain=True,
        )


def _kept_plain(
    memory: WorkingMemory,
    block: Block,
    readings: Sequence[Reading],
    received: TensorTable,
    model: TensorTable,
    certain: bool,
) -> None:
    """Layers for which the model gets scales and has none, though the block is right about them."""
    kept = []
    for reading in readings:
        weight = model.get(joined(reading.name, "weight"))
        excluded = weight is not None and weight.dtype != "uint32" and joined(reading.name, "scales") not in model
        if excluded and reading.agrees and joined(reading.name, "scales") in received:
            kept.append(reading)
    if kept:
        _disagree(
            memory,
            "predicate-excludes",
            declared=str(kept[0].declared),
            actual=_actual(kept[0]),
            key=kept[0].declared.path if kept[0].declared is not None else block.key,
            layer=kept[0].name,
            layers=len(kept),
            certain=certain,
        )


def _actual(reading: Reading) -> str | None:
    """The packing as text, or all that the shapes allow."""
    if reading.actual is not None:
        return str(reading.actual)
    return " or ".join(map(str, reading.layer.candidates)) or None
