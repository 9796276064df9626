"""Findings from activations: texts filled in, activations merged, fixes written as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from mlx_diagnose.engine.inference.conclusions import resolver, stage_of, subjects_of
from mlx_diagnose.engine.inference.fixes import make_fixes
from mlx_diagnose.engine.inference.ordering import natural
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import SEVERITIES, Activation, Explains, Fact, Finding, Scalar, Subject, stage_index
from mlx_diagnose.engine.rulebase.rule import FindingTemplate, Rule

#: {subjects} names this many, then says how many more there are.
NAMED_SUBJECTS = 5

_T = TypeVar("_T")


def make_findings(rules: Mapping[str, Rule], activations: Sequence[Activation], memory: WorkingMemory) -> list[Finding]:
    """Findings in order of severity, stage and confidence; ids ``f1``, ``f2``..., fixes ``x1``...

    ``activations`` must be in an order of their own (ordering.py); the result then depends on
    neither engine nor order of facts. Activations that agree in ``one_for``, or that would
    give the very same finding, are one.
    """
    facts = {fact.id: fact for fact in memory}
    groups: dict[tuple[object, ...], list[Activation]] = {}
    for activation in activations:
        rule = rules[activation.rule]
        if rule.finding is not None:
            groups.setdefault(_group(rule, rule.finding, activation, facts), []).append(activation)
    found: dict[tuple[object, ...], Finding] = {}
    for members in groups.values():
        finding = _finding(rules[members[0].rule], members, facts, memory)
        key = (
            finding.rule,
            finding.stage,
            finding.title,
            finding.cause,
            finding.subjects,
            repr(finding.fixes),
            finding.claims,
        )
        same = found.get(key)
        found[key] = finding if same is None else replace(same, evidence=_union(same.evidence, finding.evidence))
    return _numbered(sorted(found.values(), key=_order))


def _group(
    rule: Rule, template: FindingTemplate, activation: Activation, facts: Mapping[str, Fact]
) -> tuple[object, ...]:
    if template.one_for is None:
        return (rule.id, activation)
    resolve = resolver(activation, facts)
    values = tuple(text.value(resolve) for text in template.one_for)
    # True == 1 in a key: the type is part of it.
    return (rule.id, stage_of(rule, resolve), tuple((type(value).__name__, value) for value in values))


def _finding(rule: Rule, members: Sequence[Activation], facts: Mapping[str, Fact], memory: WorkingMemory) -> Finding:
    template = rule.finding
    assert template is not None
    resolvers = [resolver(member, facts) for member in members]
    subjects = _union(*(subjects_of(rule, resolve) for resolve in resolvers))
    merged: dict[str, Scalar] = {"subjects": listed(subjects), "count": len(members)}
    filled = [resolver(member, facts, merged) for member in members]
    claims = _union(
        *(
            [
                Explains(item.failure_class, item.subject.text_or_none(resolve) if item.subject else None)
                for item in rule.explains
                if item.subject is None or item.subject.text_or_none(resolve)
            ]
            for resolve in resolvers
        )
    )
    return Finding(
        id="",
        rule=rule.id,
        failure_class=rule.failure_class or "unknown",
        severity=rule.severity,
        confidence=template.confidence,
        stage=stage_of(rule, resolvers[0]),
        title=template.title.text(filled[0]) if template.title else rule.title,
        cause=template.cause.text(filled[0]),
        subjects=subjects,
        evidence=_union(*([identifier for _, identifier in member.facts] for member in members)),
        fixes=make_fixes(template.fixes, filled, memory),
        claims=claims,
        activation=members[0],
    )


def listed(subjects: Sequence[Subject]) -> str:
    """``a, b and c``; of more than five the first five, then how many more."""
    names = [subject.name for subject in subjects]
    if len(names) > NAMED_SUBJECTS:
        return f"{', '.join(names[:NAMED_SUBJECTS])} and {len(names) - NAMED_SUBJECTS} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "(nothing)"


def _union(*parts: Sequence[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))


def _order(finding: Finding) -> tuple[object, ...]:
    return (
        SEVERITIES.index(finding.severity),
        stage_index(finding.stage),
        -finding.confidence,
        finding.rule,
        tuple((subject.kind, natural(subject.name)) for subject in finding.subjects),
        finding.title,
        finding.cause,
    )


def _numbered(findings: Sequence[Finding]) -> list[Finding]:
    numbered: list[Finding] = []
    fixes = 0
    for number, finding in enumerate(findings, start=1):
        named = tuple(replace(fix, id=f"x{fixes + place}") for place, fix in enumerate(finding.fixes, start=1))
        fixes += len(named)
        numbered.append(replace(finding, id=f"f{number}", fixes=named))
    return numbered
