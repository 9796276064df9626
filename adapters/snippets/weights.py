# mypy: ignore-errors
"""Changes of a dictionary of weights by name; nothing is read until MLX needs it.

Patterns are regular expressions that match whole names; what their groups hold goes into the
``{places}`` of the new names.
"""

from __future__ import annotations

import re


def rename(weights, pattern, to):
    """Each tensor that ``pattern`` means under the name ``to``."""

    def named(name, array, places):
        return {to.format(**places): array}

    return replace_each(weights, pattern, named)


def drop(weights, pattern):
    """All but the tensors that ``pattern`` means."""

    def nothing(name, array, places):
        return {}

    return replace_each(weights, pattern, nothing)


def transpose(weights, pattern, axes):
    """The tensors that ``pattern`` means with their axes in the order ``axes``."""

    def transposed(name, array, places):
        return {name: array.transpose(axes)}

    return replace_each(weights, pattern, transposed)


def cast(weights, pattern, dtype):
    """The tensors that ``pattern`` means as type ``dtype``."""
    import mlx.core as mx

    kind = getattr(mx, "bool_" if dtype == "bool" else dtype)

    def converted(name, array, places):
        return {name: array.astype(kind)}

    return replace_each(weights, pattern, converted)


def split(weights, pattern, to, axis, sizes=None):
    """Each tensor that ``pattern`` means as parts of ``sizes``, or equal ones."""

    def parts(name, array, places):
        lengths = sizes or [array.shape[axis] // len(to)] * len(to)
        starts = [sum(lengths[:number]) for number in range(1, len(lengths))]
        pieces = array.split(starts, axis=axis)
        names = [new.format(**places) for new in to]
        return {names[number]: piece for number, piece in enumerate(pieces)}

    return replace_each(weights, pattern, parts)


def join(weights, pattern, others, to, axis):
    """Each tensor that ``pattern`` means with the ``others`` behind it, as one."""
    import mlx.core as mx

    used = set()
    for name in weights:
        found = re.fullmatch(pattern, name, re.DOTALL)
        if found is not None:
            used.update(other.format(**found.groupdict()) for other in others)

    def whole(name, array, places):
        pieces = [array]
        pieces.extend(weights[other.format(**places)] for other in others)
        return {to.format(**places): mx.concatenate(pieces, axis=axis)}

    rest = {name: array for name, array in weights.items() if name not in used}
    return replace_each(rest, pattern, whole)


def stack(weights, pattern, over, to, axis):
    """The tensors that ``pattern`` means, numbered by the place ``over``, as one."""
    import mlx.core as mx

    groups = {}
    rest = {}
    for name, array in weights.items():
        found = re.fullmatch(pattern, name, re.DOTALL)
        if found is None:
            rest[name] = array
        else:
            new = to.format(**found.groupdict())
            groups.setdefault(new, {})[int(found[over])] = array
    for new, numbered in groups.items():
        parts = [numbered[number] for number in sorted(numbered)]
        rest[new] = mx.stack(parts, axis=axis)
    return rest


def add(weights, name, how, shape, dtype, value):
    """A computed tensor besides."""
    import mlx.core as mx

    kind = getattr(mx, "bool_" if dtype == "bool" else dtype)
    length = shape[-1] if shape else 1
    if how == "arange":
        row = mx.arange(length) + value
    elif how == "inverse-frequencies":
        row = mx.array(value) ** (-mx.arange(length) / length)
    else:
        row = mx.array(value)
    return {**weights, name: mx.broadcast_to(row, shape).astype(kind)}


def add_values(weights, name, shape, dtype, values):
    """A tensor besides whose values are given, packed."""
    import base64
    import zlib

    import mlx.core as mx

    row = mx.array(list(zlib.decompress(base64.b64decode(values))), dtype=mx.uint8)
    kind = getattr(mx, "bool_" if dtype == "bool" else dtype)
    array = row.astype(kind) if dtype == "bool" else row.view(kind)
    return {**weights, name: array.reshape(shape)}


def replace_each(weights, pattern, change):
    """Each tensor that ``pattern`` means replaced by what ``change`` makes of it."""
    made = {}
    met = False
    for name, array in weights.items():
        found = re.fullmatch(pattern, name, re.DOTALL)
        met = met or found is not None
        made.update(change(name, array, found.groupdict()) if found else {name: array})
    if not met:
        raise ValueError(f"the weights have no tensor that {pattern!r} means")
    return made
