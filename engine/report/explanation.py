"""A failure class, an area of them, or a rule, explained to a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View, cells, home_relative
from mlx_diagnose.engine.rulebase.rule import FixTemplate, Rule
from mlx_diagnose.knowledge_base.meanings import Meaning

_INDENT = "  "


def class_lines(name: str, meaning: Meaning, rules: Sequence[Rule], view: View) -> Iterator[str]:
    """A failure class: what it means, what helps, and ``rules``, those that find it."""
    yield view.paint(name, "bold")
    yield from view.fold(meaning.means, _INDENT)
    yield ""
    yield from view.fold(meaning.helps, _INDENT)
    yield ""
    yield from _listed("Rules that find it", ((rule.id, rule.title) for rule in rules), view)


def area_lines(name: str, meanings: Iterable[tuple[str, Meaning]], view: View) -> Iterator[str]:
    """An area: its classes with their meanings."""
    yield view.paint(f"{name}/", "bold")
    for failure_class, meaning in meanings:
        yield ""
        yield f"{_INDENT}{view.paint(failure_class, 'bold')}"
        yield from view.fold(meaning.means, _INDENT * 2)


def rule_lines(rule: Rule, meaning: Meaning | None, view: View) -> Iterator[str]:
    """A rule: what it looks for, what it concludes and prescribes, where its knowledge comes from."""
    yield view.paint(rule.id, "bold")
    yield from view.fold(one_line(rule.title), _INDENT)
    about = [rule.failure_class or "derives facts", rule.severity, rule.maturity, f"since {rule.since}"]
    yield from (view.paint(line, "dim") for line in view.fold(one_line(", ".join(about)), _INDENT))
    if meaning is not None:
        yield ""
        yield from view.fold(meaning.means, _INDENT)
    yield ""
    for number, alternative in enumerate(rule.alternatives):
        yield view.paint("Fires when there is" if number == 0 else "or when there is", "bold")
        for pattern in alternative.positive:
            yield from view.fold(one_line(str(pattern)), _INDENT * 3, _INDENT)
        for pattern in alternative.negative:
            yield from view.fold(f"no {one_line(str(pattern))}", _INDENT * 3, _INDENT)
    if rule.finding is not None:
        yield ""
        yield view.paint("Concludes", "bold")
        yield from view.fold(one_line(rule.finding.cause.source), _INDENT)
        yield from _fixes(rule.finding.fixes, view)
    if rule.explains:
        yield ""
        claims = (
            f"{claim.failure_class}{f' of {claim.subject.source}' if claim.subject else ''}" for claim in rule.explains
        )
        yield view.paint("Explains", "bold")
        yield from view.fold(one_line(", ".join(claims)), _INDENT)
    yield ""
    yield view.paint("From", "bold")
    for reference in rule.references:
        yield from view.fold(one_line(reference), _INDENT * 2, _INDENT)
    yield from view.fold(one_line(home_relative(rule.file)), _INDENT * 2, _INDENT)


def _fixes(fixes: Sequence[FixTemplate], view: View) -> Iterator[str]:
    if not fixes:
        return
    yield ""
    yield view.paint("Prescribes", "bold")
    for fix in fixes:
        yield from view.fold(f"{one_line(fix.title.source)} ({fix.kind})", _INDENT * 2, _INDENT)
        if fix.command is not None:
            yield f"{_INDENT * 2}{view.paint(one_line(fix.command.source), 'cyan')}"


def _listed(heading: str, entries: Iterable[tuple[str, str]], view: View) -> Iterator[str]:
    pairs = [(one_line(name), one_line(text)) for name, text in entries]
    yield view.paint(heading if pairs else f"{heading}: none yet", "bold")
    column = max((cells(name) for name, _ in pairs), default=0) + 2
    for name, text in pairs:
        lead = f"{_INDENT}{name}{' ' * (column - cells(name))}"
        if column > view.width // 2:
            yield f"{_INDENT}{name}"
            lead = _INDENT * 2
        yield from view.fold(text, " " * cells(lead), lead)
