"""Weight maps carried out: what the tensors of a checkpoint become, and how each is made.

The operations (:mod:`.weight_operations`) are carried out in order, each on what the one before left.
Only names, types and shapes are handled here; a rewriter carries out the recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from typing import TypeAlias

from mlx_diagnose.adapters.buffer_values import unpacked
from mlx_diagnose.adapters.name_template import NameTemplate
from mlx_diagnose.adapters.tensor_recipe import (
    Cast,
    Computed,
    Joined,
    Part,
    Recipe,
    Shape,
    Stored,
    Transposed,
    depth,
)
from mlx_diagnose.adapters.weight_operations import Checked, Operation, WeightMapError, numbered, read
from mlx_diagnose.collectors.tensors import DTYPE_BITS

#: Tensors by name: type in MLX's spelling (``float32``) and shape.
Table: TypeAlias = Mapping[str, tuple[str, Shape]]
#: Operations on one tensor at most, one on top of the other; renamings do not count.
MAX_DEPTH = 32


def plan(operations: Sequence[Operation], table: Table) -> dict[str, Recipe]:
    """For each tensor of the mended checkpoint how it comes from those in ``table``, in the order of ``table``.

    A tensor that nothing touches is :class:`Stored` under its own name. Raises WeightMapError where
    an operation is not sound, finds no tensor, or would make two of one name or none of a shape.
    """
    recipes: dict[str, Recipe] = {name: Stored(name, dtype, tuple(shape)) for name, (dtype, shape) in table.items()}
    for number, checked in enumerate(read(operations), 1):
        recipes = numbered(number, checked.data, partial(_CARRY_OUT[checked.op], checked, recipes))
    return recipes


def result(operations: Sequence[Operation], table: Table) -> dict[str, tuple[str, Shape]]:
    """The tensors that come out: type and shape by name. Raises WeightMapError as :func:`plan`."""
    return {name: (recipe.dtype, recipe.shape) for name, recipe in plan(operations, table).items()}


def _matches(template: NameTemplate, recipes: Mapping[str, Recipe]) -> Iterator[tuple[str, dict[str, str]]]:
    """The tensors that a template means, at least one."""
    met = False
    if not template.places:
        name = template.fill({})
        if name in recipes:
            met = True
            yield name, {}
    else:
        for name in list(recipes):
            values = template.match(name)
            if values is not None:
                met = True
                yield name, values
    if not met:
        raise WeightMapError(f"no tensor is called {template.source!r}")


def _replaced(recipes: Mapping[str, Recipe], changes: Mapping[str, Mapping[str, Recipe]]) -> dict[str, Recipe]:
    """``recipes`` with each tensor in ``changes`` replaced, in its place, by the tensors given for it."""
    made: dict[str, Recipe] = {}
    for name, recipe in recipes.items():
        for new, becomes in changes.get(name, {name: recipe}).items():
            if new in made:
                raise WeightMapError(f"two tensors would be called {new!r}")
            if depth(becomes) > MAX_DEPTH:
                raise WeightMapError(f"more than {MAX_DEPTH} operations are piled on {name!r}")
            made[new] = becomes
    return made


def _rename(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    (to,) = checked.targets
    matches = list(_matches(checked.sources[0], recipes))
    return _replaced(recipes, {name: {to.fill(values): recipes[name]} for name, values in matches})


def _drop(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    return _replaced(recipes, {name: {} for name, _ in _matches(checked.sources[0], recipes)})


def _transpose(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    axes = tuple(checked.data["axes"])
    changes = {}
    for name, _ in _matches(checked.sources[0], recipes):
        if len(recipes[name].shape) != len(axes):
            raise WeightMapError(f"{name!r} has {len(recipes[name].shape)} axes, not {len(axes)}")
        changes[name] = {name: Transposed(recipes[name], axes)}
    return _replaced(recipes, changes)


def _cast(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    dtype = checked.data["dtype"]
    return _replaced(
        recipes, {name: {name: Cast(recipes[name], dtype)} for name, _ in _matches(checked.sources[0], recipes)}
    )


def _split(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    axis, count = checked.data["axis"], len(checked.targets)
    changes: dict[str, dict[str, Recipe]] = {}
    for name, values in _matches(checked.sources[0], recipes):
        whole = recipes[name]
        length = _length(name, whole, axis)
        sizes = checked.data.get("sizes") or [length // count] * count
        if sum(sizes) != length:
            raise WeightMapError(
                f"{name!r} is {length} long along axis {axis}, which is not {' + '.join(map(str, sizes))}"
            )
        starts = [sum(sizes[:number]) for number in range(count)]
        changes[name] = {
            to.fill(values): Part(whole, axis, start, start + size)
            for to, start, size in zip(checked.targets, starts, sizes, strict=True)
        }
    return _replaced(recipes, changes)


def _length(name: str, recipe: Recipe, axis: int) -> int:
    if axis >= len(recipe.shape):
        raise WeightMapError(f"{name!r} has no axis {axis}")
    return recipe.shape[axis]


def _join(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    groups = []
    for _, values in _matches(checked.sources[0], recipes):
        names = [source.fill(values) for source in checked.sources]
        groups.append((names, checked.targets[0].fill(values)))
    return _joined(recipes, groups, checked.data["axis"], stacked=False)


def _stack(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    over = checked.data["over"]
    members: dict[str, dict[int, str]] = {}
    for name, values in _matches(checked.sources[0], recipes):
        members.setdefault(checked.targets[0].fill(values), {})[int(values[over])] = name
    for to, by_number in members.items():
        if sorted(by_number) != list(range(len(by_number))):
            raise WeightMapError(f"the tensors for {to!r} are not numbered from 0 without a gap")
    groups = [([by_number[number] for number in sorted(by_number)], to) for to, by_number in members.items()]
    return _joined(recipes, groups, checked.data["axis"], stacked=True)


def _joined(
    recipes: Mapping[str, Recipe], groups: Sequence[tuple[Sequence[str], str]], axis: int, *, stacked: bool
) -> dict[str, Recipe]:
    changes: dict[str, dict[str, Recipe]] = {}
    for names, to in groups:
        absent = next((name for name in names if name not in recipes), None)
        if absent is not None:
            raise WeightMapError(f"no tensor is called {absent!r}")
        parts = tuple(recipes[name] for name in names)
        first = parts[0]
        if axis > len(first.shape) - (not stacked):
            raise WeightMapError(f"{names[0]!r} has no axis {axis}")
        for name, part in zip(names, parts, strict=True):
            rest = (part.shape, first.shape) if stacked else (_without(part.shape, axis), _without(first.shape, axis))
            if rest[0] != rest[1] or part.dtype != first.dtype:
                raise WeightMapError(f"{name!r} does not go with {names[0]!r}: {part.dtype} {part.shape}")
        changes |= {name: {} for name in names}
        changes[names[0]] = {to: Joined(parts, axis, stacked)}
    return _replaced(recipes, changes)


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _add(checked: Checked, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    data = checked.data
    name = checked.sources[0].fill({})
    if name in recipes:
        raise WeightMapError(f"there is a tensor called {name!r}")
    shape, dtype = tuple(data["shape"]), data["dtype"]
    if data["how"] == "values":
        values = unpacked(data["values"], prod(shape) * max(DTYPE_BITS[dtype] // 8, 1))
        return {**recipes, name: Computed("values", dtype, shape, data=values)}
    return {**recipes, name: Computed(data["how"], dtype, shape, float(data.get("value", 0)))}


_CARRY_OUT: Mapping[str, Callable[[Checked, Mapping[str, Recipe]], dict[str, Recipe]]] = {
    "rename": _rename,
    "drop": _drop,
    "transpose": _transpose,
    "cast": _cast,
    "split": _split,
    "join": _join,
    "stack": _stack,
    "add": _add,
}
