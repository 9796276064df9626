from __future__ import annotations

import pytest

from mlx_diagnose.engine.model import Fact, Provenance
from mlx_diagnose.engine.nearest import nearest_rules
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.vocabulary import check_fields

RULE = """\
id: {id}
title: For this test
failure_class: {failure_class}
severity: {severity}
maturity: stable
since: "0.1"
when:
  - fact: stage
    where: {{name: {stage}, status: failed}}
  - fact: tensor_rename
    where: {{ambiguous: false, style: {style}}}
finding:
  stage: load
  confidence: 0.9
  cause: "For this test."
references: ["a test"]
valid: [{{name: a, facts: [{{stage: {{name: {stage}}}}}]}}]
invalid: [{{name: b, facts: [{{stage: {{name: {stage}, status: failed}}}}, {{tensor_rename: {{style: {style}}}}}]}}]
"""


def rule(
    id: str,
    failure_class: str = "weights/renamed",
    severity: str = "error",
    stage: str = "load",
    style: str = "renamed",
) -> Rule:
    text = RULE.format(id=id, failure_class=failure_class, severity=severity, stage=stage, style=style)
    read, problems = read_rule(text, f"{id}.yaml", id)
    assert isinstance(read, Rule), problems
    return read


def fact(kind: str, **fields: str | float | bool) -> Fact:
    given = {"seconds": 0.0} if kind == "stage" else {}
    return Fact(kind, f"{kind}-1", check_fields(kind, given | fields), Provenance("test"))


FAILED = fact("stage", name="load", status="failed")
RENAME = fact(
    "tensor_rename",
    style="prefix-added",
    found="a",
    wanted="",
    count=1,
    share_of_missing=1.0,
    share_of_unexpected=1.0,
    example_found="a.b",
    example_wanted="b",
    ambiguous=False,
)


def test_the_nearest_rule_comes_first_with_what_it_lacked() -> None:
    near = nearest_rules(
        [rule("far", style="suffix-replaced", stage="quantize"), rule("near")], [FAILED, RENAME], "load"
    )
    assert near[0].rule == "near"
    assert near[0].lacked == "tensor_rename-1 (tensor_rename): style is 'prefix-added', and must be 'renamed'"


@pytest.mark.parametrize(
    "other",
    [
        rule("other-area", failure_class="hub/gated"),
        rule("only-a-warning", severity="warning"),
        rule("fires", style="prefix-added"),
        rule("nothing-found", stage="config"),
    ],
    ids=lambda other: other.id,
)
def test_what_is_not_near(other: Rule) -> None:
    facts = [FAILED, RENAME] if other.id != "nothing-found" else [FAILED]
    assert nearest_rules([other], facts, "load") == []


def test_only_some_are_told() -> None:
    assert [near.rule for near in nearest_rules([rule(name) for name in "dcba"], [FAILED], "load", 2)] == ["a", "b"]
