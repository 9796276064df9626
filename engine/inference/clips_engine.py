"""CLIPS, through clipspy: every alpha is an ordered fact of integers, every production a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlx_diagnose.engine.inference.engines import EngineFailure
from mlx_diagnose.engine.inference.network import Condition, Match, Message, Production


class ClipsEngine:
    """An engine on one CLIPS environment."""

    def __init__(self, productions: Sequence[Production]) -> None:
        import clips

        self._error: type[Exception] = clips.CLIPSError
        self._matches: list[Match] = []
        matches = self._matches

        def fire(production: int, *numbers: int) -> None:
            matches.append((production, numbers))

        self._environment: Any = clips.Environment()
        self._arity = {
            condition.alpha: len(condition.variables)
            for production in productions
            for condition in (*production.positive, *production.negative)
        }
        try:
            # clipspy keeps the function until the environment is gone: a method would keep the environment as well.
            self._environment.define_function(fire, name="fire")
            for alpha, arity in self._arity.items():
                slots = " ".join(f"(slot c{column})" for column in range(arity))
                self._environment.build(f"(deftemplate a{alpha} (slot n) {slots})")
            for index, production in enumerate(productions):
                self._environment.build(_rule(index, production))
            self._environment.reset()
        except self._error as error:
            raise EngineFailure(f"clips: {error}") from error

    def assert_messages(self, messages: Sequence[Message]) -> list[Match]:
        """Assert the messages and run; the matches that are new."""
        environment = self._environment
        try:
            for message in messages:
                if message.alpha in self._arity:
                    columns = "".join(f"(c{column} {token})" for column, token in enumerate(message.tokens))
                    environment.assert_string(f"(a{message.alpha} (n {message.number}){columns})")
            environment.run()
        except self._error as error:
            raise EngineFailure(f"clips: {error}") from error
        found = self._matches.copy()
        self._matches.clear()
        return found


def _rule(index: int, production: Production) -> str:
    positive = " ".join(_condition(condition, f"(n ?n{place})") for place, condition in enumerate(production.positive))
    negative = " ".join(f"(not {_condition(condition, '')})" for condition in production.negative)
    numbers = " ".join(f"?n{place}" for place in range(len(production.positive)))
    return f"(defrule r{index} {positive} {negative} => (fire {index} {numbers}))"


def _condition(condition: Condition, number: str) -> str:
    columns = "".join(f"(c{column} ?v{variable})" for column, variable in enumerate(condition.variables))
    return f"(a{condition.alpha} {number}{columns})"
