"""Tensors whose axes are in another order than the model wants.

PyTorch keeps convolution weights as (out, in, kernel...), MLX as (out, kernel..., in); a
``sanitize`` that moves the axes of what is in MLX's order already makes the same difference
the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TypeAlias

from mlx_diagnose.collectors.tensor_names import split_indices
from mlx_diagnose.collectors.tensors import TensorTable

Permutation: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[int, ...]

#: What frameworks do to weights, in order of how often: between them, Conv1d, Conv2d and Conv3d both ways,
#: transposed convolutions both ways, dense layers.
_USUAL: Mapping[int, tuple[Permutation, ...]] = {
    2: ((1, 0),),
    3: ((0, 2, 1), (1, 2, 0), (2, 0, 1), (1, 0, 2), (2, 1, 0)),
    4: ((0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 3, 0), (3, 0, 1, 2), (2, 3, 1, 0), (3, 2, 0, 1)),
    5: ((0, 2, 3, 4, 1), (0, 4, 1, 2, 3), (1, 2, 3, 4, 0), (4, 0, 1, 2, 3)),
}
#: Tensors of more axes are not weights of layers.
MAX_AXES = 5


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor that fits once ``permutation`` is taken of its axes."""

    name: str
    permutation: Permutation


def taken(shape: Shape, permutation: Permutation) -> Shape:
    """The shape after ``transpose(permutation)``."""
    return tuple(shape[axis] for axis in permutation)


def fitting(received: Shape, expected: Shape) -> tuple[Permutation, ...]:
    """Every order of the axes of ``received`` that gives ``expected``, the usual ones first; none if they are equal."""
    if received == expected or len(received) > MAX_AXES or sorted(received) != sorted(expected):
        return ()
    usual = _USUAL.get(len(received), ())
    rest = (order for order in permutations(range(len(received))) if order not in usual)
    return tuple(order for order in (*usual, *rest) if taken(received, order) == expected)


def find_layouts(received: TensorTable, model: TensorTable, names: Iterable[str]) -> list[Layout]:
    """Those of ``names``, in both tables and of unequal shapes, that differ in the order of axes only.

    Where axes of equal length leave several orders, layers of one name decide together: an
    order that fits all of them is taken, else the usual one.
    """
    orders: dict[str, tuple[Permutation, ...]] = {}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        orders[name] = fitting(received[name].shape, model[name].shape)
        if orders[name]:
            groups.setdefault(split_indices(name)[0], []).append(name)
    common: dict[tuple[str, ...], tuple[Permutation, ...]] = {}
    for template, members in groups.items():
        common[template] = tuple(
            order for order in orders[members[0]] if all(order in orders[member] for member in members)
        )
    return [Layout(name, (common[split_indices(name)[0]] or fits)[0]) for name, fits in orders.items() if fits]
