"""Which messages can take part in a match at all.

A variable of a production can only stand for a token that every positive pattern which binds
it offers; a message with another token there is dead weight. In a real run this leaves a
few of hundreds, and what an engine costs is its messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from mlx_diagnose.engine.inference.network import Condition, Message, Production

_Column = Mapping[int, Sequence[Message]]


def relevant(productions: Sequence[Production], messages: Sequence[Message], still_open: Set[int]) -> list[Message]:
    """The messages that some production can use, in their order.

    ``still_open`` are the alphas to which messages may yet be added; they restrict nothing.
    """
    return _Relevance(messages, still_open).of(productions)


class _Relevance:
    def __init__(self, messages: Sequence[Message], still_open: Set[int]) -> None:
        self._messages = messages
        self._open = still_open
        self._by_alpha: dict[int, list[Message]] = {}
        for message in messages:
            self._by_alpha.setdefault(message.alpha, []).append(message)
        self._columns: dict[tuple[int, int], _Column] = {}
        self._whole: set[int] = set()
        self._kept: set[int] = set()

    def of(self, productions: Sequence[Production]) -> list[Message]:
        for production in productions:
            allowed = self._allowed(production)
            for condition in (*production.positive, *production.negative):
                self._keep(condition, allowed)
        return [message for message in self._messages if message.alpha in self._whole or message.number in self._kept]

    def _allowed(self, production: Production) -> dict[int, Set[int]]:
        """Variable to the tokens it can stand for; a variable of open alphas only is not in it."""
        offered: dict[int, list[_Column]] = {}
        for condition in production.positive:
            if condition.alpha not in self._open:
                for column, variable in enumerate(condition.variables):
                    offered.setdefault(variable, []).append(self._column(condition.alpha, column))
        allowed: dict[int, Set[int]] = {}
        for variable, columns in offered.items():
            fewest, *others = sorted(columns, key=len)
            allowed[variable] = {token for token in fewest if all(token in other for other in others)}
        return allowed

    def _keep(self, condition: Condition, allowed: Mapping[int, Set[int]]) -> None:
        if condition.alpha in self._whole:
            return
        restricted = [(column, allowed[v]) for column, v in enumerate(condition.variables) if v in allowed]
        if not restricted:
            self._whole.add(condition.alpha)
            return
        column, tokens = min(restricted, key=lambda item: len(item[1]))
        index = self._column(condition.alpha, column)
        for token in tokens:
            for message in index.get(token, ()):
                if all(message.tokens[place] in others for place, others in restricted):
                    self._kept.add(message.number)

    def _column(self, alpha: int, column: int) -> _Column:
        known = self._columns.get((alpha, column))
        if known is None:
            index: dict[int, list[Message]] = {}
            for message in self._by_alpha.get(alpha, ()):
                index.setdefault(message.tokens[column], []).append(message)
            known = self._columns[alpha, column] = index
        return known
