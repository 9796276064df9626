"""Why a finding was made, and why a rule did not fire."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
import yaml

from mlx_diagnose.engine.inference import infer
from mlx_diagnose.engine.inference.case_runner import case_memory
from mlx_diagnose.engine.inference.explain import place, render_why_not, why, why_not
from mlx_diagnose.engine.rulebase import load_rules, rule_base
from mlx_diagnose.engine.rulebase.sources import builtin_source
from tests.engine.inference import inference_oracle, rulebase_generator
from tests.engine.inference.rule_making import make_base, make_memory, make_rule

RULE = make_rule(
    "a",
    "when:\n"
    "  - {fact: missing_argument, as: arg, where: {stage: construct, path: $path}}\n"
    "  - {fact: absent_key, where: {path: $path, required: true}}\n"
    "  - not: {fact: key_similarity, where: {wanted: $path, best: true}}\n"
    "finding: {cause: c}",
)
ARGUMENT = ("missing_argument", {"stage": "construct", "path": "p"})
ABSENT = ("absent_key", {"path": "p", "required": True})


def changes(*facts) -> list[str]:
    return [str(change) for change in why_not(RULE, make_memory(*facts)).smallest_change]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([ARGUMENT, ABSENT], []),
        ([ABSENT], ["add a fact missing_argument(stage: 'construct', path: $path)"]),
        ([ARGUMENT], ["add a fact absent_key(required: true, path: 'p')"]),
        (
            [ARGUMENT, ("absent_key", {"path": "q", "required": True})],
            ["absent_key-1 (absent_key): path is 'q', and must be 'p' ($path)"],
        ),
        (
            [ARGUMENT, ("absent_key", {"path": "p"}), ("absent_key", {"path": "q"})],
            ["absent_key-1 (absent_key): required is false, and must be true"],
        ),
        (
            [("missing_argument", {"stage": "load", "path": "p"}), ABSENT],
            ["missing_argument-1 (missing_argument): stage is 'load', and must be 'construct'"],
        ),
        (
            [ARGUMENT, ABSENT, ("key_similarity", {"wanted": "p", "best": True})],
            ["remove key_similarity-1, key_similarity(best: true, wanted: 'p')"],
        ),
        (
            # the other argument has no blocker: it is the nearer one
            [
                ARGUMENT,
                ABSENT,
                ("key_similarity", {"wanted": "p", "best": True, "given": "x"}),
                ("key_similarity", {"wanted": "p", "best": True, "given": "y"}),
                ("missing_argument", {"stage": "construct", "path": "q"}),
                ("absent_key", {"path": "q"}),
            ],
            ["absent_key-1 (absent_key): path is 'p', and must be 'q' ($path)"],
        ),
    ],
)
def test_the_smallest_change_is_named(facts, expected):
    assert changes(*facts) == expected
    assert why_not(RULE, make_memory(*facts)).fires == (expected == [])


def test_the_nearest_alternative_comes_first():
    rule = make_rule(
        "b",
        "when:\n  - any-of:\n      - [{fact: probe}, {fact: target}]\n      - [{fact: stage, where: {name: load}}]\n"
        "finding: {cause: c}",
    )
    answer = why_not(rule, make_memory(("stage", {"name": "config"})))
    assert str(answer.smallest_change[0]) == "stage-1 (stage): name is 'config', and must be 'load'"
    assert render_why_not(answer).splitlines() == [
        "b does not fire:",
        "  nearest alternative:",
        "  fails  stage(name: 'load')",
        "           stage-1 (stage): name is 'config', and must be 'load'",
        "  another alternative:",
        "  fails  probe()",
        "           add a fact probe()",
        "  fails  target()",
        "           add a fact target()",
    ]


def test_a_rule_that_fires_is_said_to():
    answer = why_not(RULE, make_memory(ARGUMENT, ABSENT))
    assert render_why_not(answer) == "a fires on these facts."
    assert [condition.reason for condition in answer.alternatives[0].conditions] == ["matched", "matched", "absent"]


def test_many_facts_are_no_matter():
    many = [("absent_key", {"path": f"k{n}"}) for n in range(3000)] + [
        ("missing_argument", {"path": f"a{n}"}) for n in range(3000)
    ]
    answer = why_not(RULE, make_memory(*many))
    assert not answer.fires and answer.smallest_change


def test_why_not_agrees_with_the_engines_on_every_built_in_case():
    for rule in load_rules([builtin_source()]).rules:
        alone = rule_base([rule])
        for case in rule.cases:
            memory = case_memory(case)
            fired = bool(infer(alone, memory, engine="clips").activations)
            assert why_not(rule, memory).fires == fired, (rule.id, case.name)


def test_changing_what_is_named_makes_a_rule_fire():
    """The changes of the nearest alternative, carried out on random rules and facts, fire the rule."""
    tried = 0
    for number in range(1500):
        rules, facts = rulebase_generator.rulebase(random.Random(number), most=1)
        text = str(rules[0])
        if "derive" in text or "any-of" in text or "'as'" in text or "{'fact': 'finding'" in text:
            continue
        rule = make_rule("r0", _body(rules[0]))
        memory = make_memory(*facts)
        answer = why_not(rule, memory)
        assert answer.fires == any(inference_oracle.matches(rules[0], [(fact.kind, fact.fields) for fact in memory]))
        changed = {fact.id: (fact.kind, dict(fact.fields)) for fact in memory}
        if not answer.fires and all(_carried_out(change, changed) for change in answer.smallest_change):
            assert any(inference_oracle.matches(rules[0], list(changed.values()))), (
                rules,
                facts,
                answer.smallest_change,
            )
            tried += 1
    assert tried > 50


def _carried_out(change, facts) -> bool:
    """Do what the change says, where that is a plain value or a removal."""
    if change.action == "remove":
        facts.pop(change.fact.id, None)
        return True
    constant = re.sub(r" \(\$\w+\)$", "", change.wanted)
    if change.action == "add" or not re.fullmatch(r"-?\d+(\.\d+)?|'[ab]*'|true|false|null", constant):
        return False
    facts[change.fact.id][1][change.field] = yaml.safe_load(constant)
    return True


def _body(data) -> str:
    import json

    conclusion = {name: data[name] for name in ("failure_class", "severity", "finding") if name in data}
    return f"when: {json.dumps(data['when'], ensure_ascii=False)}\n" + "".join(
        f"{name}: {json.dumps(value)}\n" for name, value in conclusion.items()
    )


# -- why ------------------------------------------------------------------------------------

BASE = make_base(
    key="when: [{fact: config_key, where: {path: $p}}]\nderive: {fact: missing_key, fields: {path: $p, name: $p}}",
    cause="when: [{fact: missing_key, where: {path: $p}}, {not: {fact: probe}}]\n"
    "finding: {cause: 'no {p}', one_for: [x], subjects: [{kind: config_key, name: $p}]}",
    after="failure_class: weights/shape\nwhen: [{fact: finding, as: f, where: {rule: cause, subject: $s}}]\n"
    "finding: {cause: 'after {s}'}",
)


def test_a_proof_goes_down_to_files_and_lines():
    inference = infer(BASE, make_memory(("config_key", {"path": "a"})), engine="clips")
    finding = next(f for f in inference.findings if f.rule == "after")
    proof = why(finding, inference.memory, BASE)
    step = proof.steps[0]
    assert (proof.rule, step.alias, step.fact.kind) == ("after", "f", "finding")
    assert step.because is not None and step.because.rule == "cause"
    assert step.because.absent == ("no probe()",)
    inner = step.because.steps[0].because
    assert inner is not None and inner.rule == "key" and inner.steps[0].because is None
    key = inner.steps[0].fact
    assert place(key.provenance) == "config.json:3, test"


def test_a_merged_finding_names_its_other_evidence():
    inference = infer(BASE, make_memory(("config_key", {"path": "a"}), ("config_key", {"path": "b"})), engine="clips")
    finding = next(f for f in inference.findings if f.rule == "cause")
    proof = why(finding, inference.memory, BASE)
    assert len(proof.steps) == 1 and len(proof.also) == 1


def test_a_finding_from_a_saved_report_is_proved_from_its_evidence():
    inference = infer(BASE, make_memory(("config_key", {"path": "a"}), ("config_key", {"path": "b"})), engine="clips")
    for finding in inference.findings:
        saved = replace(finding, activation=None)
        assert {step.fact.id for step in why(saved, inference.memory, BASE).steps} <= set(finding.evidence)
        assert why(saved, inference.memory, BASE).steps


def test_a_rule_that_is_gone_still_leaves_a_proof():
    inference = infer(BASE, make_memory(("config_key", {"path": "a"})), engine="clips")
    proof = why(inference.findings[0], inference.memory, make_base())
    assert proof.rule == inference.findings[0].rule and proof.steps[0].because is None


def test_circular_derivations_do_not_prove_themselves():
    base = make_base(
        there="when: [{fact: loader, where: {module: $m}}]\nderive: {fact: family, fields: {name: $m}}",
        back="when: [{fact: family, where: {name: $m}}]\nderive: {fact: loader, fields: {module: $m}}",
        end="when: [{fact: family, where: {name: $m}}, {fact: loader, where: {module: $m}}]\nfinding: {cause: c}",
    )
    inference = infer(base, make_memory(("family", {"name": "x"})), engine="clips")
    proof = why(inference.findings[0], inference.memory, base)
    family, loader = proof.steps
    assert family.because is None  # it was given
    assert loader.because is not None and loader.because.steps[0].fact.id == "family-1"
