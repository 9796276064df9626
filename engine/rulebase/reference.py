"""The reference of the rule language, as Markdown: vocabulary, tests, and the rules there are."""

from __future__ import annotations

from collections.abc import Iterator

from mlx_diagnose.engine.rulebase.loader import RuleBase
from mlx_diagnose.engine.rulebase.predicates import OPERATORS
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.vocabulary import VOCABULARY, Kind


def render_reference(rulebase: RuleBase) -> str:
    """Vocabulary, tests and rules as one Markdown page."""
    return "\n".join([*_vocabulary(), *_tests(), *_rules(rulebase)]) + "\n"


def _vocabulary() -> Iterator[str]:
    yield "# Facts"
    yield ""
    yield "What a rule can look at. A field marked `?` may be null."
    for kind in VOCABULARY.values():
        yield from _kind(kind)


def _kind(kind: Kind) -> Iterator[str]:
    yield ""
    yield f"## {kind.name}"
    yield ""
    yield f"{kind.doc} Observed by `{kind.collector}`."
    yield ""
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for name, field in kind.fields.items():
        yield f"| `{name}` | {field.type}{'?' if field.nullable else ''} | {_cell(field.doc)} |"


def _tests() -> Iterator[str]:
    yield ""
    yield "# Tests"
    yield ""
    yield "| test | takes | for | holds when |"
    yield "|---|---|---|---|"
    for operator in OPERATORS.values():
        yield f"| `{operator.name}` | {operator.argument} | {', '.join(operator.types)} | {operator.doc} |"


def _rules(rulebase: RuleBase) -> Iterator[str]:
    yield ""
    yield "# Rules"
    for rule in sorted(rulebase.rules, key=lambda rule: (rule.failure_class or "", rule.id)):
        yield from render_rule(rule)


def render_rule(rule: Rule) -> Iterator[str]:
    """One rule as the lines of a Markdown section."""
    yield ""
    yield f"## {rule.id}"
    yield ""
    yield f"{rule.title}."
    yield ""
    concludes = (
        f"`{rule.failure_class}`, {rule.severity}"
        if rule.finding
        else f"derives `{rule.derive.kind}`"
        if rule.derive
        else ""
    )
    yield f"- Concludes: {concludes} ({rule.maturity}, since {rule.since})"
    yield f"- Looks at: {', '.join(f'`{kind}`' for kind in rule.kinds)}"
    if rule.explains:
        yield f"- Explains: {', '.join(f'`{item.failure_class}`' for item in rule.explains)}"
    if rule.finding and rule.finding.fixes:
        yield f"- Fixes: {', '.join(dict.fromkeys(fix.kind for fix in rule.finding.fixes))}"
    yield f"- References: {'; '.join(rule.references)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
