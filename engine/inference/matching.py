"""Matching one conjunction in plain Python, for explanations; the engines do the inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlx_diagnose.engine.model import Activation, Fact, Scalar
from mlx_diagnose.engine.rulebase.predicates import FieldTest, predicate, written
from mlx_diagnose.engine.rulebase.rule import Conjunction, Pattern, Rule

Bindings = Mapping[str, Scalar]


def holds(test: FieldTest, fact: Fact) -> bool:
    """Whether ``fact`` passes ``test``."""
    return predicate(test)(fact.fields[test.field])


def equal(one: Scalar, other: Scalar) -> bool:
    """Equality of a join: null equals nothing, and true is not 1."""
    return one is not None and one == other and isinstance(one, bool) == isinstance(other, bool)


def bound(pattern: Pattern, fact: Fact, bindings: Bindings) -> dict[str, Scalar] | None:
    """``bindings`` with those of ``fact`` added; None if a join fails."""
    result = dict(bindings)
    for field, variable in pattern.binds:
        value = fact.fields[field]
        if variable in result and not equal(result[variable], value):
            return None
        result.setdefault(variable, value)
    return result


def activation_of(rule: Rule, conjunction: Conjunction, matched: Sequence[Fact]) -> Activation:
    """The activation of ``rule`` by the facts that match the positive patterns of ``conjunction``."""
    bindings: dict[str, Scalar] = {}
    for pattern, fact in zip(conjunction.positive, matched, strict=True):
        for field, variable in pattern.binds:
            bindings.setdefault(variable, fact.fields[field])
    return Activation(
        rule=rule.id,
        facts=tuple((pattern.alias, fact.id) for pattern, fact in zip(conjunction.positive, matched, strict=True)),
        bindings=tuple(bindings.items()),
        absent=tuple(_absent(pattern, bindings) for pattern in conjunction.negative),
    )


def _absent(pattern: Pattern, bindings: Bindings) -> str:
    """A negated pattern with its variables filled in."""
    parts = [
        *map(str, pattern.tests),
        *(f"{field}: {written(bindings[variable])}" for field, variable in pattern.binds),
    ]
    return f"no {pattern.kind}({', '.join(parts)})"


class Matcher:
    """Matches conjunctions over a fixed set of facts."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._by_kind: dict[str, list[Fact]] = {}
        for fact in facts:
            self._by_kind.setdefault(fact.kind, []).append(fact)
        self._passing: dict[tuple[str, tuple[FieldTest, ...]], list[Fact]] = {}
        self._index: dict[tuple[str, tuple[FieldTest, ...], str], dict[Scalar, list[Fact]]] = {}

    def of_kind(self, kind: str) -> Sequence[Fact]:
        """All facts of ``kind``."""
        return self._by_kind.get(kind, ())

    def matches(self, conjunction: Conjunction) -> Iterator[tuple[Fact, ...]]:
        """Every way to match: a fact for each positive pattern, in the rule's order."""
        yield from self._extend(conjunction, (), {})

    def blockers(self, pattern: Pattern, bindings: Bindings) -> list[Fact]:
        """Facts that match a negated pattern."""
        return [fact for fact in self._candidates(pattern, bindings) if bound(pattern, fact, bindings) is not None]

    def _extend(
        self, conjunction: Conjunction, chosen: tuple[Fact, ...], bindings: Bindings
    ) -> Iterator[tuple[Fact, ...]]:
        if len(chosen) == len(conjunction.positive):
            if not any(self.blockers(pattern, bindings) for pattern in conjunction.negative):
                yield chosen
            return
        pattern = conjunction.positive[len(chosen)]
        for fact in self._candidates(pattern, bindings):
            extended = bound(pattern, fact, bindings)
            if extended is not None:
                yield from self._extend(conjunction, (*chosen, fact), extended)

    def _candidates(self, pattern: Pattern, bindings: Bindings) -> Sequence[Fact]:
        key = (pattern.kind, pattern.tests)
        if key not in self._passing:
            self._passing[key] = [
                fact for fact in self.of_kind(pattern.kind) if all(holds(test, fact) for test in pattern.tests)
            ]
        for field, variable in pattern.binds:
            if variable in bindings:
                place = (*key, field)
                if place not in self._index:
                    index: dict[Scalar, list[Fact]] = {}
                    for fact in self._passing[key]:
                        index.setdefault(fact.fields[field], []).append(fact)
                    self._index[place] = index
                return self._index[place].get(bindings[variable], ())
        return self._passing[key]
