"""Whether a JSON value is of the type that an annotation asks for, and what it would convert to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.collectors.text import json_type

_BASIC = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "str",
    "dict": "dict",
    "Dict": "dict",
    "Mapping": "dict",
    "MutableMapping": "dict",
    "list": "list",
    "List": "list",
    "tuple": "list",
    "Tuple": "list",
    "Sequence": "list",
    "set": "list",
}
_JSON = {"int": "number", "float": "number", "bool": "boolean", "str": "string", "dict": "object", "list": "array"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_UNKNOWN: Any = object()


@dataclass(frozen=True, slots=True)
class Disagreement:
    """``expected`` is int, float, bool, str, list or dict; ``converted`` is the value that would fit."""

    expected: str
    convertible: bool
    converted: Any = None


#: ``8, 4`` or ``[8, 4]``.
_NUMBERS = re.compile(r"\s*(\[\s*)?-?(0|[1-9]\d{0,17})(\s*,\s*-?(0|[1-9]\d{0,17}))*(?(1)\s*\])\s*")


def disagreement(
    value: Any, annotation: str | None, *, nested: bool = False, nullable: bool = False
) -> Disagreement | None:
    """How ``value`` (parsed JSON) disagrees with ``annotation`` (source text); None if it fits or cannot be told.

    ``nested`` says that the annotation names a config class; ``nullable`` that null is a fine value besides.
    """
    wanted = ["dict"] if nested else _wanted(annotation)
    if not wanted or any(_fits(value, one) for one in wanted):
        return None
    if value is None:
        return None if nullable or _optional(annotation) else Disagreement(wanted[0], False)
    for one in wanted:
        converted = _convert(value, one)
        if converted is not _UNKNOWN:
            return Disagreement(one, True, converted)
    return Disagreement(wanted[0], False)


def _wanted(annotation: str | None) -> list[str]:
    """The basic types of an annotation; empty when any part of it is unknown."""
    if not annotation:
        return []
    found = []
    for part in _alternatives(annotation.strip().strip("'\"")):
        name = part.split("[")[0].rpartition(".")[2].strip()
        if name in ("None", "NoneType"):
            continue
        if name not in _BASIC:
            return []
        found.append(_BASIC[name])
    return list(dict.fromkeys(found))


def _alternatives(text: str) -> list[str]:
    """``Optional[int]`` and ``Union[int, str]`` and ``int | None`` as their parts."""
    wrapped = re.fullmatch(r"(?:typing\.)?(Optional|Union)\[(.*)\]", text, re.DOTALL)
    if wrapped:
        inner = [part for piece in _split(wrapped[2], ",") for part in _alternatives(piece)]
        return [*inner, "None"] if wrapped[1] == "Optional" else inner
    parts = _split(text, "|")
    return [part for piece in parts for part in _alternatives(piece)] if len(parts) > 1 else [text]


def _split(text: str, separator: str) -> list[str]:
    """``text`` split at ``separator`` outside brackets."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == separator and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


def _optional(annotation: str | None) -> bool:
    return annotation is not None and any(part in ("None", "NoneType") for part in _alternatives(annotation))


def _fits(value: Any, wanted: str) -> bool:
    if wanted == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return json_type(value) == _JSON[wanted]


def _convert(value: Any, wanted: str) -> Any:
    """``value`` as ``wanted`` without loss, or _UNKNOWN."""
    if wanted not in ("list", "dict") and isinstance(value, list) and len(value) == 1 and _fits(value[0], wanted):
        return value[0]
    if wanted == "int":
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
            return int(value)
    if wanted == "float" and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if wanted == "bool":
        if isinstance(value, str) and is_spelled_truth(value):
            return value.strip().lower() == "true"
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
    if wanted == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if wanted == "list" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return [value]
    if wanted == "list" and isinstance(value, str) and _NUMBERS.fullmatch(value):
        return json.loads(f"[{value.strip().strip('[]')}]")
    return _UNKNOWN


def is_spelled_truth(text: str) -> bool:
    """``text`` spells a truth value: to Python any text but the empty one is true."""
    return text.strip().lower() in ("true", "false")


def normalised(annotation: str | None) -> str | None:
    """An annotation in one spelling: ``Optional[List[int]]`` and ``"list[int] | None"`` are the same.

    >>> normalised("Optional[List[int]]")
    'list[int] | None'
    """
    if annotation is None:
        return None
    text = re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", annotation.strip().replace('"', "").replace("'", ""))
    text = re.sub(r"\b(List|Dict|Tuple|Set|Type|FrozenSet)\b", lambda match: match[0].lower(), text)
    text = re.sub(r"\bNoneType\b", "None", re.sub(r"\s+", " ", text))
    parts = list(dict.fromkeys(_inner(part) for part in _alternatives(text)))
    if "None" in parts:
        parts = [*(part for part in parts if part != "None"), "None"]
    return " | ".join(parts)


def _inner(text: str) -> str:
    """One alternative with what stands in its brackets normalised as well."""
    opened = re.fullmatch(r"(\w+)\[(.*)\]", text, re.DOTALL)
    if not opened:
        return text
    return f"{opened[1]}[{', '.join(normalised(part) or '' for part in _split(opened[2], ','))}]"
