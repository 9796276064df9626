"""Weight maps as calls of the functions in ``snippets/weights.py``: written into adapters, and run by an app."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mlx_diagnose.adapters.name_template import TEXTS, NameTemplate, Place
from mlx_diagnose.adapters.weight_operations import Checked, Operation, read

#: A number as names of layers have it.
_NUMBER = "0|[1-9][0-9]*"
#: Numbers of one place that are written out at most.
_MOST_NUMBERS = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the snippets, and what it is given besides the weights."""

    function: str
    arguments: tuple[Any, ...]


def calls(operations: Sequence[Operation]) -> list[Call]:
    """The calls that carry ``operations`` out, in order. Raises WeightMapError for what is not sound."""
    return [_call(checked) for checked in read(operations)]


def carried_out(operations: Sequence[Operation], weights: Mapping[str, Any]) -> dict[str, Any]:
    """``weights`` (arrays of MLX by name, lazy) with ``operations`` carried out."""
    from mlx_diagnose.adapters.snippets import weights as functions

    module: ModuleType = functions
    for call in calls(operations):
        weights = getattr(module, call.function)(weights, *call.arguments)
    return dict(weights)


def _call(checked: Checked) -> Call:
    data, source = checked.data, checked.sources[0]
    to = [_format(target) for target in checked.targets]
    if checked.op == "rename":
        return Call("rename", (_pattern(source), to[0]))
    if checked.op == "drop":
        return Call("drop", (_pattern(source),))
    if checked.op == "transpose":
        return Call("transpose", (_pattern(source), tuple(data["axes"])))
    if checked.op == "cast":
        return Call("cast", (_pattern(source), data["dtype"]))
    if checked.op == "split":
        sizes = data.get("sizes")
        return Call("split", (_pattern(source), to, data["axis"], list(sizes) if sizes else None))
    if checked.op == "join":
        return Call("join", (_pattern(source), [_format(other) for other in checked.sources[1:]], to[0], data["axis"]))
    if checked.op == "stack":
        return Call("stack", (_pattern(source), data["over"], to[0], data["axis"]))
    shape = tuple(data["shape"])
    if data["how"] == "values":
        return Call("add_values", (source.fill({}), shape, data["dtype"], data["values"]))
    return Call("add", (source.fill({}), data["how"], shape, data["dtype"], float(data.get("value", 0))))


def _pattern(template: NameTemplate) -> str:
    return "".join(
        re.escape(part) if isinstance(part, str) else f"(?P<{part.name}>{_of_place(part)})" for part in template.parts
    )


def _of_place(place: Place) -> str:
    if place.name in TEXTS:
        return ".+?"
    numbers = [
        str(number) for first, last in place.runs for number in range(first, min(last, first + _MOST_NUMBERS) + 1)
    ]
    return "|".join(sorted(numbers, key=len, reverse=True)) if numbers else _NUMBER


def _format(template: NameTemplate) -> str:
    return "".join(
        part.replace("{", "{{").replace("}", "}}") if isinstance(part, str) else f"{{{part.name}}}"
        for part in template.parts
    )
