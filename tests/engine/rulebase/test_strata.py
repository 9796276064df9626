"""Which rules wait for which, and which circles are refused."""

from __future__ import annotations

import pytest

from mlx_diagnose.engine.rulebase import InvalidRules, rule_base
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.rulebase.strata import strata


def finding(identifier: str, when: str, failure_class: str = "config/missing-key", stage: str = "") -> Rule:
    return rule(identifier, when, f"failure_class: {failure_class}\nseverity: error\nfinding: {{cause: c{stage}}}\n")


def derive(identifier: str, when: str, what: str) -> Rule:
    return rule(identifier, when, f"derive: {what}\n")


def rule(identifier: str, when: str, conclusion: str) -> Rule:
    cases = "valid: [{name: v, facts: []}]\ninvalid: [{name: i, facts: []}]\n"
    text = f"id: {identifier}\ntitle: t\nsince: '0'\nreferences: [x]\nwhen: {when}\n{conclusion}{cases}"
    found, problems = read_rule(text, f"{identifier}.yaml", identifier)
    assert isinstance(found, Rule), problems
    return found


def numbered(*rules: Rule) -> dict[str, int]:
    rule_base(rules)
    return {rule.id: number for number, stratum in enumerate(strata(rules)) for rule in stratum}


NOT_SHAPE = "[{fact: stage}, {not: {fact: finding, where: {failure_class: weights/shape}}}]"
SHAPE = "[{fact: tensor_difference}]"


def test_negation_waits_for_what_it_negates():
    found = numbered(finding("a", NOT_SHAPE), finding("b", SHAPE, "weights/shape"))
    assert found == {"a": 1, "b": 0}


def test_negation_waits_only_for_what_could_match():
    assert numbered(finding("a", NOT_SHAPE), finding("b", SHAPE, "weights/missing")) == {"a": 0, "b": 0}
    by_rule = "[{fact: stage}, {not: {fact: finding, where: {rule: b}}}]"
    assert numbered(finding("a", by_rule), finding("b", SHAPE), finding("c", SHAPE)) == {"a": 1, "b": 0, "c": 0}
    by_stage = "[{fact: stage}, {not: {fact: finding, where: {stage: {in: [load, weights]}}}}]"
    rules = (
        finding("a", by_stage),
        finding("b", SHAPE, stage=", stage: load"),
        finding("c", SHAPE, stage=", stage: config"),
    )
    assert numbered(*rules) == {"a": 1, "b": 0, "c": 0}


def test_strata_pass_through_chains():
    rules = (
        derive("one", "[{fact: stage}]", "{fact: loader, fields: {module: m}}"),
        derive("two", "[{fact: stage}, {not: {fact: loader}}]", "{fact: family, fields: {name: n}}"),
        derive("three", "[{fact: family}]", "{fact: resolution, fields: {via: v}}"),
        finding("four", "[{fact: stage}, {not: {fact: resolution}}]"),
    )
    assert numbered(*rules) == {"one": 0, "two": 1, "three": 1, "four": 2}
    assert numbered(*reversed(rules)) == {"one": 0, "two": 1, "three": 1, "four": 2}


def test_positive_recursion_is_one_stratum():
    there = derive("there", "[{fact: loader}]", "{fact: family, fields: {name: n}}")
    back = derive("back", "[{fact: family}]", "{fact: loader, fields: {module: m}}")
    after = finding("after", "[{fact: stage}, {not: {fact: family}}]")
    assert numbered(there, back, after) == {"there": 0, "back": 0, "after": 1}


@pytest.mark.parametrize("order", [1, -1])
def test_negation_in_a_circle_is_refused(order):
    there = derive("there", "[{fact: loader}]", "{fact: family, fields: {name: n}}")
    back = derive("back", "[{fact: stage}, {not: {fact: family}}]", "{fact: loader, fields: {module: m}}")
    with pytest.raises(InvalidRules) as caught:
        rule_base([there, back][::order])
    assert "rule 'back' depends on the absence of family facts that depend on it (through 'there')" in caught.value.why
    assert caught.value.problems[0].file == "back.yaml" and caught.value.problems[0].line == 5


def test_a_rule_that_negates_its_own_conclusion_is_refused():
    with pytest.raises(InvalidRules) as caught:
        rule_base([finding("a", "[{fact: stage}, {not: {fact: finding}}]")])
    assert "rule 'a' depends on the absence of what it concludes itself" in caught.value.why
    assert "by rule or failure_class" in caught.value.why
