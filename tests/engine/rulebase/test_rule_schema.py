"""The shipped JSON Schema is that of the vocabulary, and agrees with the reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mlx_diagnose import knowledge_base
from mlx_diagnose.engine.rulebase.failure_classes import FAILURE_CLASSES
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.rulebase.schema import render_schema, rule_schema
from mlx_diagnose.engine.rulebase.skeleton import skeleton
from mlx_diagnose.engine.rulebase.sources import builtin_source
from mlx_diagnose.engine.rulebase.yaml_tree import Tree, resolve
from tests.engine.rulebase.rule_texts import GOOD, edited

SHIPPED = Path(next(iter(knowledge_base.__path__))) / "schemas" / "rule.schema.json"


def plain(node):
    if node.id == "mapping":
        return {key.value: plain(value) for key, value in node.value}
    return [plain(item) for item in node.value] if node.id == "sequence" else resolve(node)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(rule_schema())


def errors(validator, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(plain(Tree("f", text).root))]


def test_the_shipped_schema_is_current():
    """Else: python -m mlx_diagnose.engine.rulebase.schema > knowledge_base/schemas/rule.schema.json"""
    assert SHIPPED.read_text(encoding="utf-8") == render_schema()


def test_it_is_a_schema():
    Draft202012Validator.check_schema(json.loads(render_schema()))


def test_all_built_in_rules_fit(validator):
    for file in builtin_source().files():
        assert errors(validator, file.content.read_text(encoding="utf-8")) == [], file.path


def test_good_texts_fit(validator):
    assert errors(validator, GOOD) == []
    assert errors(validator, "id: good\ndisabled: true\n") == []
    assert errors(validator, skeleton("new", "weights/shape")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("severity: error", "severty: error"),
        ("severity: error", "severity: eror"),
        ("title: A key is missing\n", ""),
        ("- fact: missing_argument\n", "- fact: mising_argument\n"),
        ("      stage: construct\n      path", "      stag: construct\n      path"),
        ("      stage: construct\n      path", "      stage: 5\n      path"),
        ("{matches:", "{maches:"),
        ("best: true}\nfinding", "best: [true]}\nfinding"),
        ("best: true}\nfinding", "score: {contains: x}}\nfinding"),
        ("  - not:\n", "  - nott:\n"),
        ("confidence: 0.9", "confidence: 9"),
        ("op: add,", "op: ad,"),
        ("finding:\n", "derive: {fact: target}\nfinding:\n"),
        ("      - key_similarity: {best", "      - key_similarty: {best"),
        ("best: true, wanted: a}", "bst: true, wanted: a}"),
        ("    expect: {findings", "    expect: {finding"),
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(validator, old, new):
    text = edited(old, new)
    assert errors(validator, text) != []
    assert read_rule(text, "good.yaml", "good")[1] != []


def test_failure_classes_are_those_of_the_report():
    report = json.loads((SHIPPED.parent / "report.schema.json").read_text(encoding="utf-8"))

    def enums(node):
        if isinstance(node, dict):
            if "config/missing-key" in node.get("enum", ()):
                yield node["enum"]
            for value in node.values():
                yield from enums(value)
        elif isinstance(node, list):
            for value in node:
                yield from enums(value)

    for classes in enums(report):
        assert sorted(classes) == sorted(FAILURE_CLASSES)
