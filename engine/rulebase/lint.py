"""Advice on rules that load: what a reviewer would say."""

from __future__ import annotations

from collections.abc import Iterator

from mlx_diagnose.engine.rulebase.problems import Problem
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.template import Template


def lint(rule: Rule) -> list[Problem]:
    """Remarks on one rule, in the order of the file."""
    return sorted([*_near_misses(rule), *_names(rule), *_unused(rule), *_texts(rule)])


def _remark(rule: Rule, line: int, message: str, hint: str = "") -> Problem:
    return Problem(rule.file, line, 1, message, hint)


def _near_misses(rule: Rule) -> Iterator[Problem]:
    for case in rule.valid:
        if not any(fact.kind in rule.kinds for fact in case.facts):
            yield _remark(
                rule,
                case.line,
                f"valid case {case.name!r} has no fact of a kind that the rule looks at, so it shows nothing",
                "Make it a near miss: the facts of an invalid case with one thing changed.",
            )


def _names(rule: Rule) -> Iterator[Problem]:
    seen: set[str] = set()
    for case in rule.cases:
        if case.name in seen:
            yield _remark(rule, case.line, f"two cases are named {case.name!r}")
        seen.add(case.name)


def _unused(rule: Rule) -> Iterator[Problem]:
    used = {place.name for template in _templates(rule) for place in template.places}
    for conjunction in rule.alternatives:
        counts: dict[str, int] = {}
        lines: dict[str, int] = {}
        for pattern in (*conjunction.positive, *conjunction.negative):
            for _, variable in pattern.binds:
                counts[variable] = counts.get(variable, 0) + 1
                lines.setdefault(variable, pattern.line)
        for variable, count in counts.items():
            if count == 1 and variable not in used:
                yield _remark(
                    rule,
                    lines[variable],
                    f"${variable} is bound and never used",
                    "Remove it, or join or name it somewhere.",
                )
        return  # alternatives share their patterns; the first speaks for all


def _texts(rule: Rule) -> Iterator[Problem]:
    if rule.finding and rule.severity == "error" and not rule.finding.subjects:
        yield _remark(rule, 1, "the finding names no subject", "Say which key, tensor, file, package... it is about.")
    # A place at the end may bring its own full stop: texts of the knowledge base are sentences.
    if rule.finding and rule.finding.cause.source.strip()[-1:] not in ".?!}":
        yield _remark(rule, 1, "the cause is not a sentence (it ends without a full stop)")


def _templates(rule: Rule) -> Iterator[Template]:
    if rule.derive:
        yield from (content for _, content in rule.derive.fields if isinstance(content, Template))
    yield from (item.subject for item in rule.explains if item.subject)
    finding = rule.finding
    if not finding:
        return
    yield from (template for template in (finding.cause, finding.title, finding.stage) if template)
    yield from (subject.name for subject in finding.subjects)
    yield from finding.one_for or ()
    for fix in finding.fixes:
        yield from (template for template in (fix.title, fix.command, fix.reason, *fix.files) if template)
        for item in fix.patch:
            yield from (template for template in (item.key, item.source, item.json, item.text) if template)
