"""Why a rule did not fire, and why a finding was made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlx_diagnose.engine.inference.conclusions import asserted
from mlx_diagnose.engine.inference.matching import Bindings, Matcher, activation_of, equal, holds
from mlx_diagnose.engine.model import Activation, Fact, Finding, Provenance
from mlx_diagnose.engine.rulebase.loader import RuleBase
from mlx_diagnose.engine.rulebase.predicates import written
from mlx_diagnose.engine.rulebase.rule import Conjunction, Pattern, Rule

#: Prices of changes; the cheapest set is named. One changed field is nearer than a new fact.
_CHANGE, _REMOVE, _ADD = 2, 2, 3
#: Facts considered for one pattern, and partial assignments looked at in all.
_CANDIDATES, _STEPS = 60, 20_000
#: Added to the price of an assignment that contradicts itself; named only if there is no other.
_IMPOSSIBLE = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """A change of facts: ``action`` is change, add or remove. ``wanted`` says what a field must be."""

    action: str
    kind: str
    fact: Fact | None = None
    field: str | None = None
    wanted: str = ""

    def __str__(self) -> str:
        if self.action == "add":
            return f"add a fact {self.kind}({self.wanted})"
        if self.fact is None:
            return self.action
        if self.action == "remove":
            return f"remove {self.fact.id}, {self.kind}({self.wanted})"
        got = written(self.fact.fields[self.field]) if self.field else ""
        return f"{self.fact.id} ({self.kind}): {self.field} is {got}, and must be {self.wanted}"


@dataclass(frozen=True, slots=True)
class ConditionState:
    """How one pattern stands: ``holds``; the fact that matches or is nearest; what would have to change.

    ``reason`` is matched, no-fact (none of that kind), tests (constants differ), join (a
    variable differs), absent (a negated pattern that holds) or blocked.
    """

    pattern: Pattern
    negated: bool
    reason: str
    fact: Fact | None
    changes: tuple[Change, ...]

    @property
    def holds(self) -> bool:
        return self.reason in ("matched", "absent")


@dataclass(frozen=True, slots=True)
class AlternativeState:
    """One conjunction of a rule: its conditions in order and the price of making it fire."""

    conditions: tuple[ConditionState, ...]
    cost: int

    @property
    def changes(self) -> tuple[Change, ...]:
        """The smallest change of facts that makes this alternative fire."""
        return tuple(change for condition in self.conditions for change in condition.changes)


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why ``rule`` did not fire; ``fires`` if it does. The nearest alternative comes first."""

    rule: Rule
    alternatives: tuple[AlternativeState, ...]

    @property
    def fires(self) -> bool:
        return any(alternative.cost == 0 for alternative in self.alternatives)

    @property
    def smallest_change(self) -> tuple[Change, ...]:
        """The changes of the nearest alternative."""
        return self.alternatives[0].changes


def why_not(rule: Rule, memory: Iterable[Fact]) -> WhyNot:
    """Which conditions of ``rule`` fail over ``memory``, and the smallest change that would fire it."""
    matcher = Matcher(memory)
    states = [_Nearest(matcher, conjunction).state() for conjunction in rule.alternatives]
    return WhyNot(rule, tuple(sorted(states, key=lambda state: state.cost)))


class _Nearest:
    """Branch and bound for the assignment of facts to patterns that needs the least change."""

    def __init__(self, matcher: Matcher, conjunction: Conjunction) -> None:
        self._matcher = matcher
        self._conjunction = conjunction
        self._best: tuple[int, tuple[ConditionState, ...]] | None = None
        self._steps = 0

    def state(self) -> AlternativeState:
        for matched in self._matcher.matches(self._conjunction):
            conditions = [
                ConditionState(pattern, False, "matched", fact, ())
                for pattern, fact in zip(self._conjunction.positive, matched, strict=True)
            ]
            absent = [ConditionState(pattern, True, "absent", None, ()) for pattern in self._conjunction.negative]
            return AlternativeState((*conditions, *absent), 0)
        self._search((), {}, 0)
        assert self._best is not None  # adding every fact anew is always an answer
        return AlternativeState(self._best[1], self._best[0])

    def _search(self, chosen: tuple[ConditionState, ...], bindings: Bindings, cost: int) -> None:
        self._steps += 1
        if self._best is not None and (cost >= self._best[0] or self._steps > _STEPS):
            return
        if len(chosen) == len(self._conjunction.positive):
            negated = tuple(self._negated(pattern, bindings) for pattern in self._conjunction.negative)
            total = cost + _REMOVE * sum(len(state.changes) for state in negated)
            used = {state.fact.id for state in chosen if state.fact is not None}
            if any(change.fact is not None and change.fact.id in used for state in negated for change in state.changes):
                total += _IMPOSSIBLE  # it must be there and must not
            if self._best is None or total < self._best[0]:
                self._best = (total, (*chosen, *negated))
            return
        pattern = self._conjunction.positive[len(chosen)]
        options = [self._option(pattern, fact, bindings) for fact in self._nearby(pattern, bindings)]
        options = [option for option in options if not _contradicts(option[1], chosen)]
        options.append(self._missing(pattern, bindings))
        for price, state, extended in sorted(options, key=lambda option: option[0]):
            self._search((*chosen, state), extended, cost + price)

    def _nearby(self, pattern: Pattern, bindings: Bindings) -> list[Fact]:
        """The facts of the kind that differ in the fewest tests and joins."""

        def distance(fact: Fact) -> int:
            failed = sum(not holds(test, fact) for test in pattern.tests)
            return failed + sum(
                variable in bindings and not equal(bindings[variable], fact.fields[field])
                for field, variable in pattern.binds
            )

        facts = self._matcher.of_kind(pattern.kind)
        return sorted(facts, key=distance)[:_CANDIDATES]

    def _option(self, pattern: Pattern, fact: Fact, bindings: Bindings) -> tuple[int, ConditionState, Bindings]:
        failed = [test for test in pattern.tests if not holds(test, fact)]
        changes = [Change("change", pattern.kind, fact, test.field, str(test).partition(": ")[2]) for test in failed]
        extended = dict(bindings)
        joins = 0
        for field, variable in pattern.binds:
            value = fact.fields[field]
            if variable not in extended:
                extended[variable] = value
            elif not equal(extended[variable], value):
                joins += 1
                wanted = extended[variable]
                changes.append(
                    Change(
                        "change",
                        pattern.kind,
                        fact,
                        field,
                        f"{written(wanted)} (${variable})"
                        if wanted is not None
                        else "equal to a value that is null (null joins nothing)",
                    )
                )
        reason = "tests" if failed else "join" if joins else "matched"
        return _CHANGE * len(changes), ConditionState(pattern, False, reason, fact, tuple(changes)), extended

    def _missing(self, pattern: Pattern, bindings: Bindings) -> tuple[int, ConditionState, Bindings]:
        wanted = [str(test) for test in pattern.tests]
        wanted += [
            f"{field}: {written(bindings[variable])}" if variable in bindings else f"{field}: ${variable}"
            for field, variable in pattern.binds
        ]
        change = Change("add", pattern.kind, wanted=", ".join(wanted))
        reason = "tests" if self._matcher.of_kind(pattern.kind) else "no-fact"
        return _ADD + len(wanted), ConditionState(pattern, False, reason, None, (change,)), bindings

    def _negated(self, pattern: Pattern, bindings: Bindings) -> ConditionState:
        if any(variable not in bindings for _, variable in pattern.binds):
            return ConditionState(pattern, True, "absent", None, ())  # bound by a fact that is yet to be added
        blockers = self._matcher.blockers(pattern, bindings)
        if not blockers:
            return ConditionState(pattern, True, "absent", None, ())
        changes = tuple(Change("remove", pattern.kind, fact, wanted=_facts_text(pattern, fact)) for fact in blockers)
        return ConditionState(pattern, True, "blocked", blockers[0], changes)


def _contradicts(state: ConditionState, chosen: Sequence[ConditionState]) -> bool:
    """Whether the fact serves an earlier pattern too and would have to change for one of the two."""
    return any(
        other.fact is not None
        and state.fact is not None
        and other.fact.id == state.fact.id
        and (other.changes or state.changes)
        for other in chosen
    )


def _facts_text(pattern: Pattern, fact: Fact) -> str:
    names = dict.fromkeys([*(test.field for test in pattern.tests), *(field for field, _ in pattern.binds)])
    return ", ".join(f"{name}: {written(fact.fields[name])}" for name in names)


def render_why_not(answer: WhyNot) -> str:
    """The answer as text."""
    if answer.fires:
        return f"{answer.rule.id} fires on these facts."
    lines = [f"{answer.rule.id} does not fire:"]
    several = len(answer.alternatives) > 1
    for number, alternative in enumerate(answer.alternatives[:3], start=1):
        if several:
            lines.append(f"  {'nearest' if number == 1 else 'another'} alternative:")
        for condition in alternative.conditions:
            sign = "holds" if condition.holds else "fails"
            text = f"no {condition.pattern}" if condition.negated else str(condition.pattern)
            by = f"  [{condition.fact.id}]" if condition.fact is not None and condition.holds else ""
            lines.append(f"  {sign}  {text}{by}")
            lines.extend(f"           {change}" for change in condition.changes[:5])
    return "\n".join(lines)


# -- why ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A pattern with the fact that matched it. ``because`` proves a fact that a rule concluded."""

    alias: str
    pattern: str
    fact: Fact
    because: Proof | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """A conclusion, the rule that drew it, and what it rests on.

    ``absent`` are the negated patterns; ``also`` further facts that led to the same finding.
    """

    conclusion: str
    rule: str
    title: str
    steps: tuple[Step, ...]
    absent: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def why(finding: Finding, memory: Iterable[Fact], rulebase: RuleBase) -> Proof:
    """The proof tree of ``finding``: its rule, the facts that matched, and so on for facts that rules concluded."""
    return _Prover(memory, rulebase).finding(finding)


class _Prover:
    def __init__(self, memory: Iterable[Fact], rulebase: RuleBase) -> None:
        self._facts = {fact.id: fact for fact in memory}
        self._matcher = Matcher(self._facts.values())
        self._rules = rulebase.by_id

    def finding(self, finding: Finding) -> Proof:
        rule = self._rules.get(finding.rule)
        activation = finding.activation or (self._found(rule, set(finding.evidence)) if rule else None)
        used = {identifier for _, identifier in activation.facts} if activation else set()
        return Proof(
            finding.cause,
            finding.rule,
            rule.title if rule else finding.title,
            self._steps(rule, activation, frozenset()) if activation else (),
            activation.absent if activation else (),
            tuple(identifier for identifier in finding.evidence if identifier not in used),
        )

    def _found(self, rule: Rule, evidence: set[str]) -> Activation | None:
        """A match of ``rule`` within ``evidence``, for findings that came without their activation."""
        for conjunction in rule.alternatives:
            for matched in self._matcher.matches(conjunction):
                if {fact.id for fact in matched} <= evidence:
                    return activation_of(rule, conjunction, matched)
        return None

    def _steps(self, rule: Rule | None, activation: Activation, above: frozenset[str]) -> tuple[Step, ...]:
        patterns = _patterns(rule, activation)
        return tuple(
            Step(alias, patterns.get(alias, alias), fact, self._because(fact, above | {fact.id}))
            for alias, identifier in activation.facts
            if (fact := self._facts.get(identifier)) is not None
        )

    def _because(self, fact: Fact, above: frozenset[str]) -> Proof | None:
        origin = fact.provenance.collector
        rule = self._rules.get(origin.removeprefix("rule:")) if origin.startswith("rule:") else None
        if rule is None:
            return None
        for conjunction in rule.alternatives:
            for matched in self._matcher.matches(conjunction):
                if above.intersection(one.id for one in matched):
                    continue  # no conclusion proves itself
                activation = activation_of(rule, conjunction, matched)
                if any(
                    kind == fact.kind and fields == fact.fields
                    for kind, fields in asserted(rule, activation, self._facts)
                ):
                    steps = self._steps(rule, activation, above)
                    return Proof(f"{fact.kind} {fact.id}", rule.id, rule.title, steps, activation.absent)
        return None


def _patterns(rule: Rule | None, activation: Activation) -> dict[str, str]:
    """Alias to pattern, of the alternative that has just these aliases."""
    aliases = [alias for alias, _ in activation.facts]
    for conjunction in rule.alternatives if rule else ():
        if [pattern.alias for pattern in conjunction.positive] == aliases:
            return {pattern.alias: str(pattern) for pattern in conjunction.positive}
    return {}


def place(provenance: Provenance) -> str:
    """Where a fact was seen: ``config.json:12 (decoder.hidden_size)``, or the collector alone."""
    at = ""
    if provenance.file:
        at = provenance.file if provenance.line is None else f"{provenance.file}:{provenance.line}"
    if provenance.path:
        at = f"{at} ({provenance.path})" if at else provenance.path
    return f"{at}, {provenance.collector}" if at else provenance.collector
