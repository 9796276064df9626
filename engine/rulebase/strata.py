"""Which rules feed which, and in which order they must run.

A rule that negates a kind of fact must run after every rule that can produce such facts.
Rules form a graph (producer to consumer); negation inside a cycle has no meaning and is
refused. Strata number the rest: within one, only positive dependencies remain, so running
it to a fixpoint in rounds is sound.

A dependency is drawn only where the producer's constant fields can pass the consumer's
tests: a rule on ``finding`` with ``failure_class: weights/shape`` does not depend on a rule
that concludes ``config/missing-key``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.predicates import predicate
from mlx_diagnose.engine.rulebase.problems import Problem
from mlx_diagnose.engine.rulebase.rule import Pattern, Rule
from mlx_diagnose.engine.rulebase.template import Template


def produced(rule: Rule) -> tuple[str, Mapping[str, Scalar]]:
    """The kind of fact a rule produces, and those of its fields that are the same each time."""
    if rule.derive is not None:
        fixed = {name: value for name, value in rule.derive.fields if not isinstance(value, Template)}
        return rule.derive.kind, fixed
    constants: dict[str, Scalar] = {"rule": rule.id, "failure_class": rule.failure_class, "severity": rule.severity}
    if rule.finding is not None and (rule.finding.stage is None or not rule.finding.stage.places):
        constants["stage"] = rule.finding.stage.source if rule.finding.stage else None
    return "finding", constants


class _Feeding:
    """Knows which rules could assert a fact that a pattern matches."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._producers: dict[str, list[tuple[Rule, Mapping[str, Scalar]]]] = {}
        for rule in rules:
            kind, fixed = produced(rule)
            self._producers.setdefault(kind, []).append((rule, fixed))

    def producers(self, pattern: Pattern) -> list[Rule]:
        """The rules whose facts could match ``pattern``."""
        candidates = self._producers.get(pattern.kind)
        if not candidates:
            return []
        tests = [(test.field, predicate(test)) for test in pattern.tests]
        return [
            rule for rule, fixed in candidates if all(name not in fixed or holds(fixed[name]) for name, holds in tests)
        ]


def strata(rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules in the order of their strata. Cycles through negation must have been refused before."""
    levels, _ = _levels(rules)
    highest = max(levels.values(), default=0)
    return [[rule for rule in rules if levels[rule.id] == level] for level in range(highest + 1)]


def check_strata(rules: Sequence[Rule]) -> list[Problem]:
    """A problem for each rule that depends on the absence of what depends on itself."""
    _, cyclic = _levels(rules)
    return [
        Problem(
            consumer.file,
            pattern.line,
            1,
            f"rule {consumer.id!r} depends on the absence of {pattern.kind} facts that depend on it "
            f"(through {producer.id!r})"
            if producer is not consumer
            else f"rule {consumer.id!r} depends on the absence of what it concludes itself",
            "Such a rule has no meaning; narrow the 'not' (for findings: by rule or failure_class), or remove it.",
        )
        for consumer, pattern, producer in cyclic
    ]


def _levels(rules: Sequence[Rule]) -> tuple[dict[str, int], list[tuple[Rule, Pattern, Rule]]]:
    feeding = _Feeding(rules)
    edges: dict[str, set[tuple[str, int]]] = {rule.id: set() for rule in rules}  # producer -> (consumer, 1 if negated)
    negations: list[tuple[Rule, Pattern, Rule]] = []
    for consumer in rules:
        for conjunction in consumer.alternatives:
            for pattern in conjunction.positive:
                for producer in feeding.producers(pattern):
                    edges[producer.id].add((consumer.id, 0))
            for pattern in conjunction.negative:
                for producer in feeding.producers(pattern):
                    edges[producer.id].add((consumer.id, 1))
                    negations.append((consumer, pattern, producer))
    component = _components(edges)
    cyclic = [edge for edge in negations if component[edge[0].id] == component[edge[2].id]]
    return _settled(edges, component), cyclic


def _settled(edges: Mapping[str, set[tuple[str, int]]], component: Mapping[str, int]) -> dict[str, int]:
    """The level of each rule: one for all of a component, one more behind each negation."""
    members: dict[int, list[str]] = {}
    for identifier in edges:
        members.setdefault(component[identifier], []).append(identifier)
    levels = dict.fromkeys(edges, 0)
    for number in sorted(members):  # producers first
        level = max(levels[identifier] for identifier in members[number])
        for identifier in members[number]:
            levels[identifier] = level
            for consumer, negated in edges[identifier]:
                if component[consumer] != number:
                    levels[consumer] = max(levels[consumer], level + negated)
    return levels


def _components(edges: Mapping[str, set[tuple[str, int]]]) -> dict[str, int]:
    """Strongly connected components (Tarjan, without recursion), numbered producers first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: set[str] = set()
    stack: list[str] = []
    found: list[list[str]] = []
    for start in edges:
        if start in index:
            continue
        index[start] = low[start] = len(index)
        work = [(start, iter(sorted(consumer for consumer, _ in edges[start])))]
        stack.append(start)
        on_stack.add(start)
        while work:
            node, successors = work[-1]
            following = next(successors, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members: list[str] = []
                    while not members or members[-1] != node:
                        members.append(stack.pop())
                        on_stack.discard(members[-1])
                    found.append(members)
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                on_stack.add(following)
                work.append((following, iter(sorted(consumer for consumer, _ in edges[following]))))
            elif following in on_stack:
                low[node] = min(low[node], index[following])
    # Tarjan closes a component after all that it reaches: reverse to have producers first.
    return {node: number for number, members in enumerate(reversed(found)) for node in members}
