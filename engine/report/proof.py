"""Why a finding was made, and why a rule was silent: proof trees down to file, line and config path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlx_diagnose.engine.inference.explain import AlternativeState, ConditionState, Proof, Step, WhyNot, place
from mlx_diagnose.engine.model import Fact, Finding, Report
from mlx_diagnose.engine.report.finding_text import about, excerpt_lines
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View, cells
from mlx_diagnose.engine.rulebase.predicates import written

_INDENT = "  "
_VALUE = 200
_ALTERNATIVES_SHOWN = 3


def proof_lines(found: Finding, proof: Proof, report: Report, view: View) -> Iterator[str]:
    """``found`` with its proof, what it explains, and what explains it."""
    lead = f"{one_line(found.id)}  "
    first, *rest = view.fold(one_line(found.title), " " * cells(lead), lead) or [lead]
    yield view.paint(first, "bold")
    yield from (view.paint(line, "bold") for line in rest)
    yield from (view.paint(line, "dim") for line in view.fold(about(found, view), " " * cells(lead)))
    yield ""
    if found.excerpt:
        yield from excerpt_lines(found.excerpt, view)
        yield ""
    yield from view.fold(one_line(found.cause), _INDENT)
    yield ""
    facts = {fact.id: fact for fact in report.facts}
    yield view.paint(_heading(proof), "bold")
    yield from _branches(list(_parts(proof, facts)), view)
    yield from _relations(found, report, view)


def _heading(proof: Proof) -> str:
    if proof.steps:
        return f"Because rule {one_line(proof.rule)} found"
    return f"Evidence of {one_line(proof.rule)}" if proof.also else f"By {one_line(proof.rule)}, from no fact"


# -- the tree: a part is a headline, text below it, and parts below that ------------------------

_Part = tuple[str, Sequence[str], "Sequence[_Part]"]


def _parts(proof: Proof, facts: Mapping[str, Fact]) -> Iterator[_Part]:
    for step in proof.steps:
        yield _step(step, facts)
    for absent in proof.absent:
        yield f"and there is no {one_line(absent).removeprefix('no ')}", (), ()
    for identifier in proof.also:
        fact = facts.get(identifier)
        yield _fact(fact) if fact else (one_line(identifier), (), ())


def _step(step: Step, facts: Mapping[str, Fact]) -> _Part:
    head, text, _ = _fact(step.fact)
    if step.because is None:
        return head, text, ()
    derived = f"derived by rule {one_line(step.because.rule)}: {one_line(step.because.title)}"
    return head, text[:-1], ((derived, (), list(_parts(step.because, facts))),)


def _fact(fact: Fact) -> _Part:
    fields = ", ".join(
        f"{name}: {written(value)[:_VALUE]}" for name, value in fact.fields.items() if value is not None and value != ""
    )
    seen = f"seen at {place(fact.provenance)}" if fact.provenance.collector else ""
    return one_line(fact.id), [text for text in (one_line(fields), one_line(seen)) if text], ()


def _branches(parts: Sequence[_Part], view: View, before: str = _INDENT) -> Iterator[str]:
    for number, (head, text, below) in enumerate(parts, start=1):
        last = number == len(parts)
        branch = view.glyph("└─ ", "`- ") if last else view.glyph("├─ ", "|- ")
        inside = before + ("   " if last else view.glyph("│  ", "|  "))
        yield from view.fold(head, inside, before + branch)
        for line in text:
            yield from view.fold(line, inside)
        yield from _branches(below, view, inside)


def _relations(found: Finding, report: Report, view: View) -> Iterator[str]:
    by_id = {other.id: other for other in report.findings}
    below = [by_id[id] for id in found.explains if id in by_id]
    above = [other for other in report.findings if found.id in other.explains]
    for heading, others in (("It explains", below), ("It is explained by", above)):
        if others:
            yield ""
            yield view.paint(heading, "bold")
        for other in others:
            text = f"{one_line(other.title)} ({one_line(other.failure_class)})"
            lead = f"{_INDENT}{one_line(other.id)}  "
            yield from view.fold(text, " " * cells(lead), lead)


# -- why not ---------------------------------------------------------------------------------------


def why_not_lines(answer: WhyNot, fired: Sequence[Finding], outside: str | None, view: View) -> Iterator[str]:
    """Why ``answer.rule`` was silent. ``fired`` are its findings in the run; ``outside`` says why it does not apply."""
    name = one_line(answer.rule.id)
    if fired:
        yield view.paint(f"{name} fired: {', '.join(one_line(found.id) for found in fired)}.", "bold")
        return
    yield view.paint(f"{name} did not fire in this run.", "bold")
    yield from view.fold(one_line(answer.rule.title), _INDENT)
    if outside:
        yield ""
        yield from view.fold(outside, _INDENT)
    elif answer.fires:
        yield ""
        yield from view.fold(
            "Its conditions hold on the saved facts: it came to what another rule had found already, "
            "or the rules have changed since.",
            _INDENT,
        )
    shown = answer.alternatives[: 1 if answer.fires else _ALTERNATIVES_SHOWN]
    for number, alternative in enumerate(shown):
        yield ""
        heading = "It looks for" if len(shown) == 1 else "The nearest way" if number == 0 else "Another way"
        yield view.paint(heading, "bold")
        for condition in alternative.conditions:
            yield from _condition(condition, view)
    if not answer.fires:
        yield ""
        yield from _smallest(answer.alternatives[0], view)


def _condition(condition: ConditionState, view: View) -> Iterator[str]:
    mark = view.glyph("✓", "+") if condition.holds else view.glyph("✗", "x")
    text = one_line(f"{'no ' if condition.negated else ''}{condition.pattern}")
    first, *rest = view.fold(text, _INDENT * 3, f"{_INDENT}{mark} ")
    style = "green" if condition.holds else "red"
    yield first.replace(mark, view.paint(mark, style), 1)
    yield from rest
    if condition.holds and condition.fact is not None:
        seen = f"{condition.fact.id}, {place(condition.fact.provenance)}"
        yield from (view.paint(line, "dim") for line in view.fold(one_line(seen), _INDENT * 3, _INDENT * 2))


def _smallest(alternative: AlternativeState, view: View) -> Iterator[str]:
    yield view.paint("The smallest change of facts that fires it", "bold")
    for change in alternative.changes:
        yield from view.fold(one_line(str(change)), _INDENT * 2, f"{_INDENT}- ")
