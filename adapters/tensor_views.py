"""Recipes in the form in which they are carried out: views of stored tensors, joined, then cast.

A view is a stored tensor with its axes reordered and cut; that takes no data. Reordering and
cutting of anything else is moved down to the views, so that what is left is joining and
casting, which a stream can do piece by piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from mlx_diagnose.adapters.tensor_recipe import Cast, Computed, Joined, Part, Recipe, Shape, Stored, Transposed


@dataclass(frozen=True, slots=True)
class View:
    """Elements of the stored tensor ``name``: ``shape``, and in elements the ``strides`` and first ``offset``."""

    name: str
    dtype: str
    shape: Shape
    strides: Shape
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Whole:
    """A computed buffer with its axes reordered and cut: small enough to be made at once."""

    of: Computed
    view: View

    @property
    def dtype(self) -> str:
        return self.of.dtype

    @property
    def shape(self) -> Shape:
        return self.view.shape


@dataclass(frozen=True, slots=True)
class Chain:
    """``parts`` one after the other along ``axis``; stacked parts have length 1 there."""

    parts: tuple[Form, ...]
    axis: int

    @property
    def dtype(self) -> str:
        return self.parts[0].dtype

    @property
    def shape(self) -> Shape:
        first = self.parts[0].shape
        total = sum(part.shape[self.axis] for part in self.parts)
        return (*first[: self.axis], total, *first[self.axis + 1 :])


@dataclass(frozen=True, slots=True)
class Conversion:
    """The values of ``of`` as ``dtype``."""

    of: Form
    dtype: str

    @property
    def shape(self) -> Shape:
        return self.of.shape


Form: TypeAlias = View | Whole | Chain | Conversion


def form(recipe: Recipe) -> Form:
    """``recipe`` with reordering and cutting moved down to its leaves."""
    if isinstance(recipe, Stored):
        return View(recipe.name, recipe.dtype, recipe.shape, row_major(recipe.shape))
    if isinstance(recipe, Computed):
        return Whole(recipe, View("", recipe.dtype, recipe.shape, row_major(recipe.shape)))
    if isinstance(recipe, Transposed):
        return _transposed(form(recipe.of), recipe.axes)
    if isinstance(recipe, Part):
        return _cut(form(recipe.of), recipe.axis, recipe.start, recipe.stop)
    if isinstance(recipe, Cast):
        return Conversion(form(recipe.of), recipe.dtype)
    assert isinstance(recipe, Joined)
    parts = tuple(map(form, recipe.parts))
    if recipe.stacked:
        parts = tuple(_lifted(part, recipe.axis) for part in parts)
    return Chain(parts, recipe.axis)


def row_major(shape: Shape) -> Shape:
    """Strides in elements of an array that lies row by row."""
    return tuple(reversed(list(accumulate(reversed(shape[1:]), lambda size, axis: size * axis, initial=1))))[
        : len(shape)
    ]


def _transposed(of: Form, axes: Sequence[int]) -> Form:
    if isinstance(of, View):
        return View(
            of.name,
            of.dtype,
            tuple(of.shape[axis] for axis in axes),
            tuple(of.strides[axis] for axis in axes),
            of.offset,
        )
    if isinstance(of, Whole):
        view = _transposed(of.view, axes)
        assert isinstance(view, View)
        return Whole(of.of, view)
    if isinstance(of, Conversion):
        return Conversion(_transposed(of.of, axes), of.dtype)
    return Chain(tuple(_transposed(part, axes) for part in of.parts), list(axes).index(of.axis))


def _cut(of: Form, axis: int, start: int, stop: int) -> Form:
    if isinstance(of, View):
        shape = (*of.shape[:axis], stop - start, *of.shape[axis + 1 :])
        return View(of.name, of.dtype, shape, of.strides, of.offset + start * of.strides[axis])
    if isinstance(of, Whole):
        view = _cut(of.view, axis, start, stop)
        assert isinstance(view, View)
        return Whole(of.of, view)
    if isinstance(of, Conversion):
        return Conversion(_cut(of.of, axis, start, stop), of.dtype)
    if axis != of.axis:
        return Chain(tuple(_cut(part, axis, start, stop) for part in of.parts), of.axis)
    kept: list[Form] = []
    begin = 0
    for part in of.parts:
        length = part.shape[axis]
        first, last = max(start - begin, 0), min(stop - begin, length)
        if first < last:
            kept.append(_cut(part, axis, first, last))
        begin += length
    return Chain(tuple(kept or [_cut(of.parts[0], axis, 0, 0)]), axis)


def _lifted(of: Form, axis: int) -> Form:
    """``of`` with a new axis of length 1."""
    if isinstance(of, View):
        shape, strides = ((*row[:axis], 1, *row[axis:]) for row in (of.shape, of.strides))
        return View(of.name, of.dtype, shape, strides, of.offset)
    if isinstance(of, Whole):
        view = _lifted(of.view, axis)
        assert isinstance(view, View)
        return Whole(of.of, view)
    if isinstance(of, Conversion):
        return Conversion(_lifted(of.of, axis), of.dtype)
    return Chain(tuple(_lifted(part, axis) for part in of.parts), of.axis + (axis <= of.axis))
