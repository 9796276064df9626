"""config.json against the types that the family's classes, or its known-good configuration, have for its values.

A text is true to Python, even the text "false", and true is a number: a load takes both and tells nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_diagnose.collectors.annotation_types import Disagreement, disagreement, is_spelled_truth
from mlx_diagnose.collectors.config import ConfigDocument, value_at
from mlx_diagnose.collectors.config_edit import dotted, leaves
from mlx_diagnose.collectors.config_sections import Key, Section
from mlx_diagnose.collectors.text import clean, json_text, json_type
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance


def collect(
    memory: WorkingMemory, config: ConfigDocument, sections: Sequence[Section], usual: Mapping[str, Any]
) -> None:
    """Assert type_disagreement: by the annotations of ``sections``, else by ``usual``, the known-good configuration."""
    declared: set[str] = set()
    for section in sections:
        # What a section is declared to be, no other reading of it unsays.
        declared.update(key.path for key in section.known_keys if key.type)
        for key, value in _given(section):
            if key.type is None and not key.nested:
                found = _beside_default(value, key.default)
            else:
                found = disagreement(value, key.type, nested=key.nested, nullable=_nullable(key))
            if found is not None:
                _assert(memory, config, key.path, value, found, declared=key.type is not None or key.nested)
    data = config.data or {}
    for path, value, found in (*_confused(data, usual), *_emptied(data, usual), *_unlike_sections(data, usual)):
        if path not in declared:
            _assert(memory, config, path, value, found, declared=False)


def silent(data: Mapping[str, Any], usual: Mapping[str, Any]) -> bool:
    """Whether a config has a value that a load may take for one of another type and tell nothing."""
    spelled = any(isinstance(value, str) and is_spelled_truth(value) for _, value in leaves(dict(data)))
    return spelled or next(_confused(data, usual), None) is not None


def _confused(data: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[tuple[str, Any, Disagreement]]:
    """Texts that spell a truth value where ``usual`` has one, and truth values where it has a number."""
    for parts, value in leaves(dict(data)):
        if not isinstance(value, (str, bool)):
            continue
        path = dotted(parts)
        known = value_at(usual, path, None)
        if type(known) not in ((bool,) if isinstance(value, str) else (int, float)):
            continue
        found = disagreement(value, type(known).__name__)
        if found is not None and (found.convertible or isinstance(value, bool)):
            yield path, value, found


def _emptied(data: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[tuple[str, Any, Disagreement]]:
    """Null where ``usual`` has a number or a list."""
    for parts, value in leaves(dict(data)):
        if value is not None:
            continue
        path = dotted(parts)
        known = value_at(usual, path, None)
        if type(known) in (int, float, list):
            found = disagreement(None, type(known).__name__)
            if found is not None:
                yield path, None, found


def _unlike_sections(data: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[tuple[str, Any, Disagreement]]:
    """What is no object where ``usual`` has a section, and a number where it has a list; null aside."""
    sections = dict.fromkeys(parts[:depth] for parts, _ in leaves(dict(usual)) for depth in range(1, len(parts)))
    for path in map(dotted, sections):
        value = value_at(data, path, None)
        known = value_at(usual, path, None)
        if isinstance(known, dict) and value is not None and not isinstance(value, dict):
            yield path, value, Disagreement("dict", False)
        elif isinstance(known, list) and type(value) in (int, float) and not path.endswith("_id"):
            # An identifier may be one or several.
            yield path, value, Disagreement("list", False)


def _assert(
    memory: WorkingMemory, config: ConfigDocument, path: str, value: Any, found: Disagreement, *, declared: bool
) -> None:
    line = config.line_of(path)
    memory.add(
        "type_disagreement",
        Provenance("config_difference", file=str(config.file), line=line, path=clean(path)),
        path=clean(path),
        name=clean(path.rpartition(".")[2]),
        expected=found.expected,
        actual=json_type(value),
        value=json_text(value),
        convertible=found.convertible,
        converted=json_text(found.converted) if found.convertible else None,
        line=line,
        declared=declared,
    )


def _beside_default(value: Any, default: str | None) -> Disagreement | None:
    """A text where a parameter without annotation has a number or a list for its default."""
    if not isinstance(value, str) or default is None:
        return None
    try:
        usual = json.loads(default)
    except ValueError:
        return None
    return disagreement(value, type(usual).__name__) if type(usual) in (int, float, list) else None


def _nullable(key: Key) -> bool:
    """Null is the default, or may be: some defaults are no JSON."""
    return key.default == "null" or (key.default is None and not key.required)


def _given(section: Section) -> Iterator[tuple[Key, Any]]:
    """Parameters that are given, each once, with their values."""
    seen: set[str] = set()
    for key in section.known_keys:
        if key.path not in seen and key.name in section.values:
            seen.add(key.path)
            yield key, section.values[key.name]
