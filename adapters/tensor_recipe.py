"""How a tensor of a mended checkpoint comes from tensors that are stored: what a streaming rewriter carries out.

A recipe is a small tree. Its leaves are stored tensors and computed buffers; every node knows
its type (MLX's spelling, ``float32``) and shape, so what will come out is known before a byte is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as it is stored, under the name it has in the checkpoint."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Transposed:
    """The axes of ``of`` in another order: axis ``n`` of the result is axis ``axes[n]`` of it."""

    of: Recipe
    axes: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.of.dtype

    @property
    def shape(self) -> Shape:
        shape = self.of.shape
        return tuple(shape[axis] for axis in self.axes)


@dataclass(frozen=True, slots=True)
class Cast:
    """The values of ``of`` as ``dtype``."""

    of: Recipe
    dtype: str

    @property
    def shape(self) -> Shape:
        return self.of.shape


@dataclass(frozen=True, slots=True)
class Part:
    """``of`` from ``start`` up to, not including, ``stop`` along ``axis``."""

    of: Recipe
    axis: int
    start: int
    stop: int

    @property
    def dtype(self) -> str:
        return self.of.dtype

    @property
    def shape(self) -> Shape:
        shape = self.of.shape
        return (*shape[: self.axis], self.stop - self.start, *shape[self.axis + 1 :])


@dataclass(frozen=True, slots=True)
class Joined:
    """``parts`` one after the other along ``axis``; ``stacked``: along a new axis there."""

    parts: tuple[Recipe, ...]
    axis: int
    stacked: bool

    @property
    def dtype(self) -> str:
        return self.parts[0].dtype

    @property
    def shape(self) -> Shape:
        first = self.parts[0].shape
        if self.stacked:
            return (*first[: self.axis], len(self.parts), *first[self.axis :])
        total = first[self.axis] + sum(part.shape[self.axis] for part in self.parts[1:])
        return (*first[: self.axis], total, *first[self.axis + 1 :])


@dataclass(frozen=True, slots=True)
class Computed:
    """A buffer that is computed and not stored.

    ``how``: ``constant`` (``value`` everywhere), ``arange`` (``value``, ``value + 1``, ... along the
    last axis, the same on all others), ``inverse-frequencies`` (of rotary embeddings over ``2 n``
    dimensions, ``value ** (-i / n)`` for the ``n`` of the last axis), ``values`` (those of ``data``, little-endian).
    """

    how: str
    dtype: str
    shape: Shape
    value: float = 0.0
    data: bytes = b""


Recipe: TypeAlias = Stored | Transposed | Cast | Part | Joined | Computed


def stored(recipe: Recipe) -> tuple[Stored, ...]:
    """The stored tensors that a recipe reads, from left to right."""
    if isinstance(recipe, Stored):
        return (recipe,)
    if isinstance(recipe, Computed):
        return ()
    parts = recipe.parts if isinstance(recipe, Joined) else (recipe.of,)
    return tuple(leaf for part in parts for leaf in stored(part))


def depth(recipe: Recipe) -> int:
    """How many operations lie between a recipe and its farthest leaf."""
    if isinstance(recipe, (Stored, Computed)):
        return 0
    return 1 + max(map(depth, recipe.parts if isinstance(recipe, Joined) else (recipe.of,)))
