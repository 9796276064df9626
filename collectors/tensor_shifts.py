"""Series of layers that the checkpoint counts from another number than the model: 1 to N for 0 to N - 1.

Of such a series most names fit, each with the tensor of another layer, so what is missing and what is
unexpected does not show it: it takes the whole of the series.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from mlx_diagnose.collectors.tensor_names import collapse, split_indices
from mlx_diagnose.collectors.tensor_renames import Renaming
from mlx_diagnose.collectors.tensors import TensorTable

#: The style of these renamings.
RENUMBERED = "renumbered"

#: The texts up to a number, and the numbers before it.
_Stem: TypeAlias = tuple[tuple[str, ...], tuple[int, ...]]
#: What follows the number, with its shape, and the whole name.
_Layer: TypeAlias = dict[tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]], str]


def find_shifts(received: TensorTable, model: TensorTable) -> list[Renaming]:
    """One renaming for each series whose numbers are all shifted by as much, with every tensor of it.

    Series that differ only in the numbers before them, and are shifted alike, are one. The layers
    must agree in all names and shapes.
    """
    given, wanted = _series(received), _series(model)
    alike: dict[tuple[tuple[str, ...], int], list[tuple[str, str]]] = {}
    for stem, layers in wanted.items():
        others = given.get(stem, {})
        if layers.keys() == others.keys() or len(layers) != len(others):
            continue
        shift = min(others) - min(layers)
        pairs = list(_pairs(layers, others, shift))
        if len(pairs) == sum(map(len, layers.values())) == sum(map(len, others.values())):
            alike.setdefault((stem[0], shift), []).extend(pairs)
    return [_renaming(len(texts), pairs) for (texts, _), pairs in alike.items()]


def _series(table: TensorTable) -> dict[_Stem, dict[int, _Layer]]:
    series: dict[_Stem, dict[int, _Layer]] = defaultdict(lambda: defaultdict(dict))
    for name, info in table.items():
        texts, numbers = split_indices(name)
        for depth, number in enumerate(numbers):
            rest = texts[depth + 1 :], numbers[depth + 1 :], info.shape
            series[texts[: depth + 1], numbers[:depth]][number][rest] = name
    return series


def _pairs(layers: Mapping[int, _Layer], others: Mapping[int, _Layer], shift: int) -> Iterator[tuple[str, str]]:
    """Name found and name wanted of what agrees once the numbers of ``others`` are shifted back."""
    for number, layer in layers.items():
        other = others.get(number + shift, {})
        yield from ((other[rest], name) for rest, name in layer.items() if rest in other)


def _renaming(depth: int, pairs: list[tuple[str, str]]) -> Renaming:
    def stems(side: int) -> str:
        apart = (split_indices(pair[side]) for pair in pairs)
        heads = dict.fromkeys(
            "".join(f"{text}{number}" for text, number in zip(texts[:depth], numbers[:depth], strict=True))
            for texts, numbers in apart
        )
        return collapse((head, None) for head in heads)[0].pattern

    return Renaming(RENUMBERED, stems(0), stems(1), tuple(pairs))
