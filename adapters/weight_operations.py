"""The operations of a weight map as plain data (JSON), and whether they are sound.

Names are templates (:mod:`.name_template`), so one operation covers a tensor of every layer::

    {"op": "rename", "from": "module.{rest}", "to": "{rest}"}
    {"op": "drop", "name": "left_over.weight"}
    {"op": "transpose", "name": "{head}.conv.weight", "axes": [0, 2, 1]}
    {"op": "cast", "name": "{rest}", "dtype": "bfloat16"}
    {"op": "split", "from": "h.{i}.qkv.weight", "axis": 0, "to": ["h.{i}.q.weight", "h.{i}.k.weight"], "sizes": [8, 4]}
    {"op": "join", "from": ["h.{i}.q.weight", "h.{i}.k.weight"], "axis": 0, "to": "h.{i}.qk.weight"}
    {"op": "stack", "from": "h.{i}.experts.{e}.w", "over": "e", "axis": 0, "to": "h.{i}.experts.w"}
    {"op": "add", "name": "position_ids", "how": "arange", "shape": [1, 512], "dtype": "int32", "value": 0}
    {"op": "add", "name": "window", "how": "values", "shape": [2], "dtype": "float32", "values": "base64 of zlib"}

``split`` without ``sizes`` makes equal parts. ``add`` computes a buffer as :class:`.tensor_recipe.Computed`
says. Nothing in an operation is code or a regular expression, and one may come from a stranger.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, TypeAlias, TypeVar

from mlx_diagnose.adapters.buffer_values import unpacked
from mlx_diagnose.adapters.name_template import NameTemplate, TemplateError, parse
from mlx_diagnose.collectors.tensors import DTYPE_BITS

Operation: TypeAlias = Mapping[str, Any]
Result = TypeVar("Result")

#: Types that a tensor can be cast to or computed in.
DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32"),
)
HOW = ("constant", "arange", "inverse-frequencies", "values")
MAX_OPERATIONS = 10_000
MAX_ELEMENTS = 1 << 28

_KEYS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    name: (frozenset(needed.split()), frozenset(optional.split()))
    for name, needed, optional in (
        ("rename", "from to", ""),
        ("drop", "name", ""),
        ("transpose", "name axes", ""),
        ("cast", "name dtype", ""),
        ("split", "from axis to", "sizes"),
        ("join", "from axis to", ""),
        ("stack", "from over axis to", ""),
        ("add", "name how shape dtype", "value values"),
    )
}


class WeightMapError(ValueError):
    """Operations that are not sound, or do not fit the tensors; the message names the operation."""


@dataclass(frozen=True)
class Checked:
    """An operation with its templates parsed, ``sources`` and ``targets`` in order."""

    data: Operation
    op: str
    sources: tuple[NameTemplate, ...]
    targets: tuple[NameTemplate, ...]


def read(operations: object) -> tuple[Checked, ...]:
    """Check ``operations``, whoever wrote them. Raises WeightMapError, naming the first that is not sound."""
    if not isinstance(operations, Sequence) or isinstance(operations, str):
        raise WeightMapError("a weight map is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise WeightMapError(f"a weight map has at most {MAX_OPERATIONS} operations")
    return tuple(numbered(number, data, partial(_read, data)) for number, data in enumerate(operations, 1))


def describe(operation: Operation) -> str:
    """An operation in a line of words; ``operation`` need not be sound. Names stand as JSON texts."""
    op = operation.get("op")
    source, name, to = (_quoted(operation.get(key)) for key in ("from", "name", "to"))
    if op == "rename":
        return f"rename {source} to {to}"
    if op == "drop":
        return f"drop {name}"
    if op == "transpose":
        return f"take the axes of {name} as {tuple(operation.get('axes') or ())}"
    if op == "cast":
        return f"cast {name} to {operation.get('dtype')}"
    if op == "split":
        return f"split {source} along axis {operation.get('axis')} into {to}"
    if op == "join":
        return f"join {source} along axis {operation.get('axis')} as {to}"
    if op == "stack":
        return f"stack {source} over {{{operation.get('over')}}} at axis {operation.get('axis')} as {to}"
    if op == "add":
        return f"add {name}: {operation.get('how')}, {operation.get('dtype')} {tuple(operation.get('shape') or ())}"
    return _quoted(operation)


def _quoted(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_quoted, value))
    return json.dumps(value, ensure_ascii=False, default=str)


def numbered(number: int, data: object, work: Callable[[], Result]) -> Result:
    """``work()``; what it finds wrong is said of operation ``number``, which is ``data``."""
    try:
        return work()
    except (WeightMapError, TemplateError) as error:
        op = data.get("op") if isinstance(data, Mapping) else None
        raise WeightMapError(f"operation {number}{f' ({op})' if isinstance(op, str) else ''}: {error}") from None


def _read(data: object) -> Checked:
    if not isinstance(data, Mapping):
        raise WeightMapError("an operation is an object")
    op = data.get("op")
    if not isinstance(op, str) or op not in _KEYS:
        raise WeightMapError(f"there is no operation {op!r}; there are {', '.join(_KEYS)}")
    needed, optional = _KEYS[op]
    given = frozenset(data) - {"op"}
    if needed - given or given - needed - optional:
        raise WeightMapError(
            f"it takes {', '.join(sorted(needed | optional))}, not {', '.join(sorted(map(str, given)))}"
        )
    sources = _templates(data["from" if "from" in data else "name"], several=op == "join")
    targets = _templates(data["to"], several=op == "split") if "to" in data else ()
    _same_places(op, data, sources, targets)
    if "axis" in data and (type(data["axis"]) is not int or data["axis"] < 0):
        raise WeightMapError("axis is a number from 0")
    if op in _ATTRIBUTES:
        _ATTRIBUTES[op](data)
    return Checked(data, op, sources, targets)


def _templates(value: object, *, several: bool) -> tuple[NameTemplate, ...]:
    names = list(value) if several and isinstance(value, (list, tuple)) else [value]
    if several and len(names) < 2:
        raise WeightMapError("two names or more are needed")
    if not all(isinstance(name, str) for name in names):
        raise WeightMapError("a name is a text")
    return tuple(parse(str(name)) for name in names)


def _same_places(op: str, data: Operation, sources: Sequence[NameTemplate], targets: Sequence[NameTemplate]) -> None:
    places = set(sources[0].places)
    if op == "add" and places:
        raise WeightMapError("what is added has one name, without places")
    if op == "stack":
        over = data["over"]
        if over not in places or over in ("head", "rest"):
            raise WeightMapError(f"over names a number of {sources[0].source!r}")
        places.discard(over)
    for template in (*sources[1:], *targets):
        if set(template.places) != places:
            raise WeightMapError(f"{template.source!r} does not have the places of {sources[0].source!r}")
    filled = [template.source for template in (targets if op == "split" else sources)]
    if len(set(filled)) != len(filled):
        raise WeightMapError("a name stands twice")


def _axes(data: Operation) -> None:
    axes = data["axes"]
    if not isinstance(axes, (list, tuple)) or any(type(axis) is not int for axis in axes):
        raise WeightMapError("axes is a list of numbers")
    if sorted(axes) != list(range(len(axes))):
        raise WeightMapError(f"{list(axes)} is not an order of {len(axes)} axes")


def _dtype(data: Operation) -> None:
    if data["dtype"] not in DTYPES:
        raise WeightMapError(f"{data['dtype']!r} is not a type; there are {', '.join(DTYPES)}")


def _sizes(data: Operation) -> None:
    sizes = data.get("sizes")
    if sizes is not None and (not isinstance(sizes, (list, tuple)) or any(type(n) is not int or n < 1 for n in sizes)):
        raise WeightMapError("sizes is a list of numbers from 1")
    if sizes is not None and len(sizes) != len(data["to"]):
        raise WeightMapError("there are as many sizes as parts")


def _buffer(data: Operation) -> None:
    _dtype(data)
    shape = data["shape"]
    if data["how"] not in HOW:
        raise WeightMapError(f"{data['how']!r} is not a way to compute a buffer; there are {', '.join(HOW)}")
    if not isinstance(shape, (list, tuple)) or any(type(size) is not int or size < 0 for size in shape):
        raise WeightMapError("shape is a list of numbers from 0")
    if prod(shape) > MAX_ELEMENTS:
        raise WeightMapError(f"a computed buffer has at most {MAX_ELEMENTS} elements")
    if (data["how"] == "values") != ("values" in data) or not isinstance(data.get("values", ""), str):
        raise WeightMapError("the way values takes a text of values, and no other does")
    if data["how"] == "values":
        try:
            unpacked(data["values"], prod(shape) * max(DTYPE_BITS[data["dtype"]] // 8, 1))
        except ValueError as error:
            raise WeightMapError(str(error)) from None
        return
    value = data.get("value", 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
        raise WeightMapError("value is a finite number")
    if data["how"] != "constant" and not shape:
        raise WeightMapError("such a buffer has an axis")
    if data["how"] == "inverse-frequencies" and value <= 0:
        raise WeightMapError("the base of inverse frequencies is above 0")


_ATTRIBUTES: Mapping[str, Callable[[Operation], None]] = {
    "transpose": _axes,
    "cast": _dtype,
    "split": _sizes,
    "add": _buffer,
}
