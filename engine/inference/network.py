"""The intermediate form: what both engines are given.

An engine never sees a fact. For every pattern we decide, by the predicates of the rule
base, which facts pass its tests of constants; such a fact becomes a *message* of the
pattern's *alpha*: a unique number and one small integer (token) for each field that joins.
So the engines see equality joins over integers and nothing else: no text, no null, no
float, no user-supplied name, whatever a rule or a model repository contains.

An alpha is shared by patterns of the same kind, tests and joining fields. Alphas of negated
patterns are separate, so that blockers can be asserted before anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mlx_diagnose.engine.model import Fact, Scalar
from mlx_diagnose.engine.rulebase.predicates import FieldTest, Predicate, predicate
from mlx_diagnose.engine.rulebase.rule import Conjunction, Pattern, Rule

#: The alpha of the one message that is always there; it stands in for a missing positive pattern.
ALWAYS = 0
#: The token of a null in a field that only negated patterns join: equal to no other token.
NO_TOKEN = 0


@dataclass(frozen=True, slots=True)
class Alpha:
    """Facts of ``kind`` that pass ``tests`` and whose fields of one group in ``same`` are equal.

    ``columns`` are the fields that join, each with whether null excludes the fact.
    """

    kind: str
    tests: tuple[FieldTest, ...]
    same: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, bool], ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One pattern of a production: its alpha, and the join variable of each column."""

    alpha: int
    variables: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Production:
    """One conjunction of one rule. ``positive`` is in the order for the engine; ``order`` maps it to the rule's."""

    rule: int
    alternative: int
    positive: tuple[Condition, ...]
    negative: tuple[Condition, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A fact as an engine sees it. ``number`` is unique in a run."""

    alpha: int
    number: int
    tokens: tuple[int, ...]


#: A match: index of the production, and the numbers of the messages in the engine's order.
Match = tuple[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Network:
    """The productions of some rules, and the alphas that they share (index 0 is :data:`ALWAYS`)."""

    rules: tuple[Rule, ...]
    productions: tuple[Production, ...]
    alphas: tuple[Alpha | None, ...]


def compile_network(rules: Sequence[Rule]) -> Network:
    """Compile ``rules`` to productions."""
    alphas: dict[Alpha | None, int] = {None: ALWAYS}
    productions = tuple(
        _production(index, number, conjunction, alphas)
        for index, rule in enumerate(rules)
        for number, conjunction in enumerate(rule.alternatives)
    )
    return Network(tuple(rules), productions, tuple(alphas))


def _production(rule: int, alternative: int, conjunction: Conjunction, alphas: dict[Alpha | None, int]) -> Production:
    variables: dict[str, int] = {}
    positive_uses: dict[str, int] = {}
    for pattern in conjunction.positive:
        for variable in {variable for _, variable in pattern.binds}:
            positive_uses[variable] = positive_uses.get(variable, 0) + 1
    negative_uses = {variable for pattern in conjunction.negative for _, variable in pattern.binds}

    def condition(pattern: Pattern, negated: bool) -> Condition:
        groups: dict[str, list[str]] = {}
        for name, variable in pattern.binds:
            groups.setdefault(variable, []).append(name)
        columns: list[tuple[str, bool]] = []
        joined: list[int] = []
        for variable, fields in groups.items():
            strict = negated or positive_uses[variable] > 1
            if strict or variable in negative_uses:
                columns.append((fields[0], strict))
                joined.append(variables.setdefault(variable, len(variables)))
        same = tuple(sorted(tuple(fields) for fields in groups.values() if len(fields) > 1))
        order = sorted(range(len(columns)), key=lambda i: columns[i])
        alpha = Alpha(
            pattern.kind,
            tuple(sorted(set(pattern.tests), key=str)),
            same,
            tuple(columns[i] for i in order),
            negated,
        )
        return Condition(alphas.setdefault(alpha, len(alphas)), tuple(joined[i] for i in order))

    positive = [condition(pattern, negated=False) for pattern in conjunction.positive]
    order = _connected(positive)
    return Production(
        rule,
        alternative,
        tuple(positive[i] for i in order) or (Condition(ALWAYS, ()),),
        tuple(condition(pattern, negated=True) for pattern in conjunction.negative),
        order,
    )


def _connected(conditions: Sequence[Condition]) -> tuple[int, ...]:
    """An order in which each condition joins an earlier one where possible: no needless cross products."""
    left = list(range(len(conditions)))
    order: list[int] = []
    bound: set[int] = set()
    while left:
        best = max(left, key=lambda i: (len(bound.intersection(conditions[i].variables)), -i))
        left.remove(best)
        order.append(best)
        bound.update(conditions[best].variables)
    return tuple(order)


class _Sieve:
    """Decides which alphas of one kind a fact belongs to; each distinct test is evaluated once a fact."""

    def __init__(self, alphas: Iterable[tuple[int, Alpha]]) -> None:
        tests: dict[FieldTest, int] = {}
        self._plans = [
            (number, alpha, tuple(tests.setdefault(test, len(tests)) for test in alpha.tests))
            for number, alpha in alphas
        ]
        self._tests: list[tuple[str, Predicate]] = [(test.field, predicate(test)) for test in tests]

    def passing(self, fact: Fact) -> Iterable[tuple[int, Alpha]]:
        fields = fact.fields
        results: list[bool | None] = [None] * len(self._tests)
        for number, alpha, needed in self._plans:
            for index in needed:
                result = results[index]
                if result is None:
                    name, holds = self._tests[index]
                    result = results[index] = holds(fields[name])
                if not result:
                    break
            else:
                yield number, alpha


@dataclass
class Intake:
    """Turns facts into messages. One for a run of a network; numbers and tokens are its own."""

    network: Network
    _tokens: dict[tuple[str, Scalar], int] = field(default_factory=dict)
    _facts: list[Fact | None] = field(default_factory=lambda: [None])
    _sieves: dict[str, _Sieve] = field(default_factory=dict)
    _blockers: set[tuple[int, tuple[int, ...]]] = field(default_factory=set)

    def __post_init__(self) -> None:
        by_kind: dict[str, list[tuple[int, Alpha]]] = {}
        for number, alpha in enumerate(self.network.alphas):
            if alpha is not None:
                by_kind.setdefault(alpha.kind, []).append((number, alpha))
        self._sieves = {kind: _Sieve(alphas) for kind, alphas in by_kind.items()}

    def messages(self, facts: Iterable[Fact]) -> tuple[list[Message], list[Message]]:
        """Messages of negated alphas (each distinct one once) and of the others, in order."""
        blockers: list[Message] = []
        others: list[Message] = []
        for fact in facts:
            sieve = self._sieves.get(fact.kind)
            for number, alpha in sieve.passing(fact) if sieve else ():
                tokens = self._columns(fact, alpha)
                if tokens is None:
                    continue
                if not alpha.negated:
                    others.append(self._message(number, tokens, fact))
                elif (number, tokens) not in self._blockers:
                    self._blockers.add((number, tokens))
                    blockers.append(self._message(number, tokens, fact))
        return blockers, others

    def always(self) -> Message:
        """The message that is always there."""
        return self._message(ALWAYS, (), None)

    def fact(self, number: int) -> Fact | None:
        """The fact behind a message; None for :meth:`always`."""
        return self._facts[number]

    def _message(self, alpha: int, tokens: tuple[int, ...], fact: Fact | None) -> Message:
        self._facts.append(fact)
        return Message(alpha, len(self._facts) - 1, tokens)

    def _columns(self, fact: Fact, alpha: Alpha) -> tuple[int, ...] | None:
        for names in alpha.same:
            first = self._token(fact.fields[names[0]])
            if first == NO_TOKEN or any(self._token(fact.fields[name]) != first for name in names[1:]):
                return None
        tokens: list[int] = []
        for name, strict in alpha.columns:
            token = self._token(fact.fields[name])
            if token == NO_TOKEN and strict:
                return None
            tokens.append(token)
        return tuple(tokens)

    def _token(self, value: Scalar) -> int:
        """A number for the value; null and not-a-number, which equal nothing, are :data:`NO_TOKEN`."""
        if value is None or value != value:
            return NO_TOKEN
        key = ("bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number", value)
        return self._tokens.setdefault(key, len(self._tokens) + 1)
