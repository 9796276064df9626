"""The signature of a family as facts: its classes, what its code reads, what parameters presuppose of each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.checkpoint_sizes import Evidence, loosely_counted
from mlx_diagnose.collectors.config import ConfigDocument, value_at
from mlx_diagnose.collectors.config_sections import Section, chosen
from mlx_diagnose.collectors.text import clean, json_text
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_NAME = "signature"
_MAX_FACTS = 1_500
_ABSENT: Any = object()
_LARGEST = 2**31


def assert_unreadable(memory: WorkingMemory, document: Mapping[str, Any]) -> None:
    """Assert source_unreadable."""
    for problem in document.get("unreadable", ()):
        at = Provenance(_NAME, file=problem["file"], line=problem["line"])
        memory.add("source_unreadable", at, **{**problem, "message": clean(problem["message"], 300)})


def assert_archived(memory: WorkingMemory, archive: Path) -> None:
    """Assert source_unreadable for a whole mlx-audio inside ``archive``."""
    memory.add(
        "source_unreadable",
        Provenance(_NAME, file=str(archive)),
        module="mlx_audio",
        file=str(archive),
        reason="zipped",
        message=f"it lies inside the archive {clean(archive.name, 200)}",
    )


def assert_facts(
    memory: WorkingMemory, config: ConfigDocument, document: Mapping[str, Any], sections: Sequence[Section]
) -> None:
    """Assert class_signature, attribute_read and parameter_dependency of a document of :mod:`sources`."""
    for signature in document.get("signatures", ()):
        _assert_class(memory, signature)
    data = config.data or {}
    for use in document.get("uses", ())[:_MAX_FACTS]:
        _assert_read(memory, use, data)
    defaults = dict(_defaults(sections))
    for dependency in document.get("dependencies", ())[:_MAX_FACTS]:
        _assert_dependency(memory, dependency, data, defaults)


def assert_sizes(
    memory: WorkingMemory, data: Mapping[str, Any], found: Sequence[Evidence], sections: Sequence[Section]
) -> None:
    """Assert checkpoint_size."""
    defaults = dict(_defaults(sections))
    values = {item.path: _value(item.path, data, defaults) for item in found}
    hollow = {section.path for section in sections if section.hollow}
    numbers = {path: value for path, value in values.items() if type(value) is int}
    agreeing = {item.path for item in found if numbers.get(item.path) == item.size}
    for item in found[:_MAX_FACTS]:
        value = numbers.get(item.path)
        if value != item.size and loosely_counted(item):
            continue
        shown = {other.size for other in found if other.path == item.path}
        # Of a section that is absent as a whole, single defaults are not what is wrong.
        above = item.path.rpartition(".")[0]
        placed = isinstance(value_at(data, above, None), Mapping) and above not in hollow
        memory.add(
            "checkpoint_size",
            Provenance("config_difference", path=item.path),
            path=item.path,
            size=item.size,
            value=json_text(value) if value is not None else None,
            default=value is not None and value_at(data, item.path, _ABSENT) is _ABSENT,
            agrees=value == item.size if value is not None else None,
            settled=placed and len(shown) == 1 and item.path not in agreeing,
            tensor=clean(item.tensor, 300),
            axis=item.axis,
            count=item.count,
        )


def _assert_class(memory: WorkingMemory, signature: Mapping[str, Any]) -> None:
    takes = signature["takes_dict"] or {"method": None, "unknown_keys": None, "keys": ()}
    memory.add(
        "class_signature",
        Provenance(_NAME, file=signature["file"], line=signature["line"]),
        class_name=signature["class_name"],
        module=signature["module"],
        role=signature["role"],
        parameters=clean(", ".join(_parameter_text(p) for p in signature["parameters"]), 2000),
        required=", ".join(p["name"] for p in signature["parameters"] if p["required"]),
        method=takes["method"],
        unknown_keys=takes["unknown_keys"],
        accepted_keys=", ".join(takes["keys"]),
        file=signature["file"],
        line=signature["line"],
    )


def _parameter_text(parameter: Mapping[str, Any]) -> str:
    """``name: type = default``; ``...`` for a default that is no JSON."""
    text = f"{parameter['name']}: {parameter['type']}" if parameter["type"] else str(parameter["name"])
    if parameter["required"]:
        return text
    return f"{text} = {parameter['default'] if parameter['default'] is not None else '...'}"


def _assert_read(memory: WorkingMemory, use: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    path = chosen(use["paths"], data) if use["paths"] else f"@{use['class_name']}.{use['name']}"
    memory.add(
        "attribute_read",
        Provenance(_NAME, file=use["file"], line=use["line"], path=path),
        path=path,
        name=use["name"],
        class_name=use["class_name"],
        how=use["how"],
        reader=use["reader"],
        function=use["function"],
        stage=use["stage"],
        required=use["required"],
        sure=use["sure"],
        declared=use["declared"],
        given=value_at(data, path, _ABSENT) is not _ABSENT,
        default=clean(use["default"], 500) if use["default"] else None,
        file=use["file"],
        line=use["line"],
    )


def _assert_dependency(
    memory: WorkingMemory, dependency: Mapping[str, Any], data: Mapping[str, Any], defaults: Mapping[str, str]
) -> None:
    path, other = chosen(dependency["paths"], data), chosen(dependency["others"], data)
    value, other_value = (_value(place, data, defaults) for place in (path, other))
    relation = dependency["relation"]
    remainder = value % other_value if relation == "divisible" and _is_size(value, other_value) else None
    memory.add(
        "parameter_dependency",
        Provenance(_NAME, file=dependency["file"], line=dependency["line"], path=path),
        relation=relation,
        path=path,
        other=other,
        asserted=dependency["asserted"],
        sure=dependency["sure"],
        expression=clean(dependency["expression"], 300),
        value=json_text(value) if value is not _ABSENT else None,
        other_value=json_text(other_value) if other_value is not _ABSENT else None,
        holds=_holds(relation, value, other_value, remainder),
        remainder=remainder,
        file=dependency["file"],
        line=dependency["line"],
    )


def _holds(relation: str, value: Any, other: Any, remainder: int | None) -> bool | None:
    if value is _ABSENT or other is _ABSENT or value is None or other is None:
        return None
    if relation == "divisible":
        return remainder == 0 if remainder is not None else None
    if relation == "equal":
        return bool(value == other)
    if relation == "same-length" and isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other)
    return None


def _is_size(value: Any, other: Any) -> bool:
    return type(value) is int and type(other) is int and 0 < other < _LARGEST and 0 <= value < _LARGEST


def _value(path: str, data: Mapping[str, Any], defaults: Mapping[str, str]) -> Any:
    """What stands at ``path``, else the default that stands in there, else _ABSENT."""
    given = value_at(data, path, _ABSENT)
    if given is not _ABSENT:
        return given
    try:
        return json.loads(defaults[path]) if path in defaults else _ABSENT
    except ValueError:
        return _ABSENT


def _defaults(sections: Sequence[Section]) -> Iterator[tuple[str, str]]:
    """Path and default of every parameter that has one."""
    for section in sections:
        for key in section.known_keys:
            if key.default is not None:
                yield key.path, key.default
