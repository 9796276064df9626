"""The JSON Schema (draft 2020-12) of rule files, made from the vocabulary; for editors.

The reader checks more than a schema can say (bound variables, joins, contradictions).
``python -m mlx_diagnose.engine.rulebase.schema`` prints it; a test keeps the shipped file,
``knowledge_base/schemas/rule.schema.json``, equal to it.
"""

from __future__ import annotations

import json
from typing import Any

from mlx_diagnose.engine.model import SEVERITIES, STAGES
from mlx_diagnose.engine.rulebase.case_reader import CASE_KEYS, EXPECT_KEYS
from mlx_diagnose.engine.rulebase.failure_classes import AREAS, FAILURE_CLASSES
from mlx_diagnose.engine.rulebase.predicates import OPERATORS, Operator
from mlx_diagnose.engine.rulebase.rule import FIX_KINDS, MATURITIES, PATCH_OPERATIONS, SUBJECT_KINDS
from mlx_diagnose.engine.rulebase.rule_reader import CATEGORIES, RULE_ID, RULE_KEYS
from mlx_diagnose.engine.vocabulary import VOCABULARY, Field, Kind

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1}
_TEXTS: Schema = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_VARIABLE = r"^\$[A-Za-z_][A-Za-z0-9_-]*$"


def rule_schema() -> Schema:
    """The schema as plain data."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "rule.schema.json",
        "title": "Rule",
        "description": "One rule of mlx-diagnose: the facts it looks at, the finding it concludes, and its cases.",
        **_rule(),
        "$defs": {
            "condition": _condition(),
            "pattern": {
                **_object({"fact": {"enum": list(VOCABULARY)}, "as": _TEXT, "where": {"type": "object"}}, ("fact",)),
                "allOf": [_pattern(kind) for kind in VOCABULARY.values()],
            },
            "fact": _object(
                {kind.name: _case_fact(kind) for kind in VOCABULARY.values()}, minProperties=1, maxProperties=1
            ),
            **{f"test-{name}": _tests(name, False) for name in _JSON_TYPES},
            **{f"test-{name}-or-null": _tests(name, True) for name in _JSON_TYPES},
            "valid-case": _case(fires=False),
            "invalid-case": _case(fires=True),
            "fix": _fix(),
        },
    }


def render_schema() -> str:
    """The text of the shipped file."""
    return json.dumps(rule_schema(), indent=1, ensure_ascii=False) + "\n"


def _object(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": list(required)} if required else {}),
        **more,
    }


def _rule() -> Schema:
    properties: Schema = {
        "id": {"type": "string", "pattern": f"^{RULE_ID.pattern}$", "description": "the file's name; stable"},
        "title": _TEXT,
        "failure_class": {"enum": list(FAILURE_CLASSES)},
        "severity": {"enum": list(SEVERITIES)},
        "maturity": {"enum": list(MATURITIES), "default": "stable"},
        "since": {"anyOf": [_TEXT, {"type": "number"}]},
        "applies_to": _object(
            {
                "categories": _names((*CATEGORIES, "*")),
                "families": _TEXTS,
                "mlx_audio": {**_TEXT, "description": "a version range"},
            }
        ),
        "when": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/condition"}},
        "finding": _finding(),
        "derive": _derive(),
        "explains": {
            "type": "array",
            "items": _object(
                {
                    "failure_class": {"enum": [*FAILURE_CLASSES, *(f"{area}/*" for area in AREAS), "*"]},
                    "subject": {**_TEXT, "description": "template, or $variable"},
                },
                ("failure_class",),
            ),
        },
        "references": {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}]},
        "valid": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/valid-case"}},
        "invalid": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/invalid-case"}},
        "notes": _TEXT,
        "disabled": {"type": "boolean"},
    }
    assert set(properties) == set(RULE_KEYS)
    return _object(
        properties,
        ("id",),
        anyOf=[
            {"required": ["disabled"], "properties": {"disabled": {"const": True}}},
            {
                "required": ["title", "since", "when", "references", "valid", "invalid"],
                "oneOf": [
                    {"required": ["finding", "failure_class", "severity"], "not": {"required": ["derive"]}},
                    {"required": ["derive"], "not": {"required": ["explains"]}},
                ],
            },
        ],
    )


def _names(allowed: tuple[str, ...]) -> Schema:
    return {"anyOf": [{"enum": list(allowed)}, {"type": "array", "items": {"enum": list(allowed)}}]}


def _condition() -> Schema:
    pattern = {"$ref": "#/$defs/pattern"}
    return {
        "anyOf": [
            pattern,
            _object({"not": pattern}, ("not",)),
            _object(
                {
                    "any-of": {
                        "type": "array",
                        "minItems": 2,
                        "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/condition"}},
                    }
                },
                ("any-of",),
            ),
        ]
    }


def _pattern(kind: Kind) -> Schema:
    """What ``where`` may hold if the pattern is of this kind; told so that an editor names the field at fault."""
    fields = {
        name: {"$ref": f"#/$defs/{_test_name(field)}", "description": field.doc} for name, field in kind.fields.items()
    }
    return {
        "if": {"required": ["fact"], "properties": {"fact": {"const": kind.name}}},
        "then": {"properties": {"where": _object(fields)}},
    }


def _test_name(field: Field) -> str:
    return f"test-{field.type}-or-null" if field.nullable else f"test-{field.type}"


def _value(field_type: str, nullable: bool) -> Schema:
    return {"type": [_JSON_TYPES[field_type], "null"] if nullable else _JSON_TYPES[field_type]}


def _tests(field_type: str, nullable: bool) -> Schema:
    """What may stand for a field of this type: a constant, a variable, or tests."""
    value = _value(field_type, nullable)
    tests: Schema = {
        operator.name: {**_argument(operator, value), "description": operator.doc}
        for operator in OPERATORS.values()
        if field_type in operator.types
    }
    tests["as"] = {"type": "string", "pattern": _VARIABLE}
    return {"anyOf": [value, {"type": "string", "pattern": _VARIABLE}, _object(tests, minProperties=1)]}


def _argument(operator: Operator, value: Schema) -> Schema:
    if operator.argument == "constants":
        return {"type": "array", "minItems": 1, "items": value}
    return {
        "constant": value,
        "text": _TEXT,
        "regex": {**_TEXT, "format": "regex"},
        "number": {"type": "number"},
        "range": _TEXT,
        "boolean": {"type": "boolean"},
    }[operator.argument]


def _case_fact(kind: Kind) -> Schema:
    fields = {name: _value(field.type, field.nullable) for name, field in kind.fields.items()}
    return {**_object(fields), "type": ["object", "null"], "description": kind.doc}


def _case(*, fires: bool) -> Schema:
    facts: Schema = {"type": "array", "items": {"$ref": "#/$defs/fact"}}
    properties: Schema = {"name": _TEXT, "facts": facts}
    if fires:
        count: Schema = {"type": "integer", "minimum": 0}
        properties["expect"] = _object(
            {
                "findings": count,
                "subjects": _TEXTS,
                "cause_contains": _TEXTS,
                "title_contains": _TEXTS,
                "fixes": count,
                "stage": {"enum": list(STAGES)},
                "facts": facts,
            }
        )
        assert set(properties["expect"]["properties"]) == set(EXPECT_KEYS) and set(properties) == set(CASE_KEYS)
    return _object(properties, ("name", "facts"))


def _finding() -> Schema:
    return _object(
        {
            "stage": {**_TEXT, "description": "a stage, or a template"},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "cause": {**_TEXT, "description": "one or two sentences; {variable}, {alias.field}, {subjects}, {count}"},
            "title": _TEXT,
            "subjects": {
                "type": "array",
                "items": _object({"kind": {"enum": list(SUBJECT_KINDS)}, "name": _TEXT}, ("kind", "name")),
            },
            "one_for": _TEXTS,
            "fixes": {"type": "array", "items": {"$ref": "#/$defs/fix"}},
        },
        ("cause",),
    )


def _fix() -> Schema:
    place = {**_TEXT, "description": "dotted config path"}
    pointer = {**_TEXT, "description": "JSON pointer (RFC 6901)"}
    operation = _object(
        {
            "op": {"enum": list(PATCH_OPERATIONS)},
            "key": place,
            "from": place,
            "pointer": pointer,
            "from_pointer": pointer,
            "json": {**_TEXT, "description": "the value, as JSON text"},
            "text": {**_TEXT, "description": "the value, a string"},
            "value": {"description": "the value, as it stands"},
        },
        ("op",),
    )
    return _object(
        {
            "kind": {"enum": list(FIX_KINDS)},
            "title": _TEXT,
            "patch": {"type": "array", "items": operation},
            "weight_map_for": {**_TEXT, "description": "subject of a weight_repair fact, whose operations are taken"},
            "shim": {**_TEXT, "description": "name of a loader shim (adapters/shims)"},
            "copies_for": {**_TEXT, "description": "subject of a companion_source fact, whose files are taken"},
            "environment": {"type": "object", "additionalProperties": _TEXT, "minProperties": 1},
            "command": _TEXT,
            "files": {"type": "array", "items": _TEXT},
            "manual": {"type": "boolean"},
            "reason": _TEXT,
        },
        ("kind", "title"),
    )


def _derive() -> Schema:
    kinds = [kind for kind in VOCABULARY.values() if kind.name != "finding"]
    anything: Schema = {"type": ["string", "number", "boolean", "null"]}
    return {
        "oneOf": [
            _object({"fact": {"const": kind.name}, "fields": _object(dict.fromkeys(kind.fields, anything))}, ("fact",))
            for kind in kinds
        ]
    }


if __name__ == "__main__":
    print(render_schema(), end="")
