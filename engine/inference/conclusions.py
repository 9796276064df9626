"""What an activation asserts: the facts of ``derive``, or one ``finding`` fact a subject."""

from __future__ import annotations

from collections.abc import Mapping

from mlx_diagnose.engine.model import STAGES, Activation, Fact, Scalar, Subject
from mlx_diagnose.engine.rulebase.case_reader import empty_value
from mlx_diagnose.engine.rulebase.rule import DeriveTemplate, Rule
from mlx_diagnose.engine.rulebase.template import Place, Resolver, Template
from mlx_diagnose.engine.vocabulary import VOCABULARY


def resolver(activation: Activation, facts: Mapping[str, Fact], extra: Mapping[str, Scalar] | None = None) -> Resolver:
    """Fills places from the bindings and matched facts of ``activation`` (``facts`` are by id)."""
    values: dict[str, Scalar] = {**dict(activation.bindings), **(extra or {})}
    matched = {alias: facts[identifier] for alias, identifier in activation.facts}

    def resolve(place: Place) -> Scalar:
        if place.field is None:
            return values[place.name]
        return matched[place.name].fields[place.field]

    return resolve


def asserted(rule: Rule, activation: Activation, facts: Mapping[str, Fact]) -> list[tuple[str, dict[str, Scalar]]]:
    """Kind and fields of the facts that the activation asserts."""
    resolve = resolver(activation, facts)
    if rule.derive is not None:
        return [(rule.derive.kind, _derived(rule.derive, resolve))]
    common: dict[str, Scalar] = {
        "rule": rule.id,
        "failure_class": rule.failure_class,
        "severity": rule.severity,
        "stage": stage_of(rule, resolve),
    }
    subjects = subjects_of(rule, resolve)
    if not subjects:
        return [("finding", {**common, "subject_kind": None, "subject": None})]
    return [("finding", {**common, "subject_kind": s.kind, "subject": s.name}) for s in subjects]


def stage_of(rule: Rule, resolve: Resolver) -> str | None:
    """The stage of a finding; a template that gives no stage gives None."""
    template = rule.finding.stage if rule.finding else None
    stage = template.text_or_none(resolve) if template else None
    return stage if stage in STAGES else None


def subjects_of(rule: Rule, resolve: Resolver) -> list[Subject]:
    """Subjects of a finding; one whose name would be null or empty is left out."""
    found: list[Subject] = []
    for template in rule.finding.subjects if rule.finding else ():
        name = template.name.text_or_none(resolve)
        if name and (subject := Subject(template.kind, name)) not in found:
            found.append(subject)
    return found


def _derived(derive: DeriveTemplate, resolve: Resolver) -> dict[str, Scalar]:
    fields: dict[str, Scalar] = {name: empty_value(spec) for name, spec in VOCABULARY[derive.kind].fields.items()}
    for name, content in derive.fields:
        value = content.value(resolve) if isinstance(content, Template) else content
        if value is not None:
            whole = isinstance(value, int) and VOCABULARY[derive.kind].fields[name].type == "float"
            fields[name] = float(value) if whole else value  # 1 and 1.0 would be two facts
    return fields
