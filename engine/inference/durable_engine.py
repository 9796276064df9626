"""durable_rules 2.0.28, kept to the subset in which it gives right answers.

Used freely this library crashes, hangs and loses facts. The guard rails, each of which was
found by a crash or a wrong answer, and where they are kept:

- messages are flat objects of small integers with a ``kind`` (network.py), so its JSON
  parser meets no text, no null, no float, and no field name of a user;
- every pattern tests ``kind``, which is its alpha: a message satisfies as many tests as
  there are patterns of that alpha in a ruleset, and no ruleset has more than 60 of them
  (error 303 comes at 64); no ruleset has more than 30 rules;
- every pattern that joins ends with a join that always holds (``one``), without which the
  hash join of a single expression misses matches;
- no ``$or``, no empty ``$and``, no negation first or nested; at most 12 patterns and 20 joins
  a rule (when.py);
- blockers are asserted before all else, and never later: strata (strata.py) see to it;
- a message's identity is a 32-bit hash of its ``id``: ids are chosen so that no two collide;
- the timer threads of ``Host``, which never stop, are never started;
- messages are asserted one at a time; "not handled" is a normal answer, any other error is
  fatal; an exception in an action is stored in the state, from where it is raised here;
- its memory is freed when the engine is (rulesets have no destructor of their own).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from mlx_diagnose.engine.inference.engines import EngineFailure
from mlx_diagnose.engine.inference.network import Condition, Match, Message, Production

MAX_RULES = 30
MAX_TESTS = 60
_FNV_BASIS, _FNV_PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


class DurableEngine:
    """An engine on one or more durable_rules rulesets."""

    def __init__(self, productions: Sequence[Production]) -> None:
        from durable import engine

        self._not_handled: type[Exception] = engine.MessageNotHandledException
        self._observed: type[Exception] = engine.MessageObservedException
        self._matches: list[Match] = []
        self._ids = _Identifiers()
        self._routes: dict[int, list[str]] = {}

        class QuietHost(engine.Host):  # type: ignore[misc]
            """A host without timer threads."""

            def _run(self) -> None:
                return

        self._host: Any = QuietHost()
        for number, group in enumerate(partition(productions)):
            name = f"s{number}"
            rules = {f"r{index}": self._rule(index, productions[index]) for index in group}
            try:
                self._host.register_rulesets({name: rules})
            except Exception as error:  # the extension raises plain Exception
                raise EngineFailure(f"durable_rules: {error}") from error
            for alpha in {
                c.alpha for index in group for c in (*productions[index].positive, *productions[index].negative)
            }:
                self._routes.setdefault(alpha, []).append(name)

    def assert_messages(self, messages: Sequence[Message]) -> list[Match]:
        """Assert the messages one at a time; the matches that are new."""
        for message in messages:
            routes = self._routes.get(message.alpha)
            if not routes:
                continue
            content = {"id": self._ids.of(message.number), "kind": f"a{message.alpha}", "n": message.number, "one": 1}
            content.update((f"c{column}", token) for column, token in enumerate(message.tokens))
            for ruleset in routes:
                self._assert(ruleset, dict(content))
        found, self._matches = self._matches, []
        return found

    def _assert(self, ruleset: str, content: dict[str, Any]) -> None:
        try:
            state = self._host.assert_fact(ruleset, content)
        except self._not_handled:
            return
        except self._observed as error:
            raise EngineFailure(f"durable_rules took two messages for one: {error}") from error
        except Exception as error:
            raise EngineFailure(f"durable_rules: {error}") from error
        if isinstance(state, dict) and state.get("exception"):
            raise EngineFailure(f"durable_rules: {state['exception']}")

    def _rule(self, index: int, production: Production) -> dict[str, Any]:
        patterns = [*_patterns(production)]
        aliases = [f"p{place}" for place in range(len(production.positive))]

        def fire(c: Any) -> None:
            matched = c._m
            self._matches.append((index, tuple(matched[alias]["n"] for alias in aliases)))

        return {"all": patterns, "run": fire}

    def __del__(self) -> None:
        host = getattr(self, "_host", None)
        if host is None:
            return
        import durable_rules_engine

        for ruleset in host._ruleset_list:
            durable_rules_engine.delete_ruleset(ruleset._handle)


def _patterns(production: Production) -> Iterator[dict[str, Any]]:
    bound: dict[int, tuple[str, str]] = {}
    for place, condition in enumerate(production.positive):
        alias = f"p{place}"
        yield {alias: _expression(condition, bound, first=place == 0)}
        for column, variable in enumerate(condition.variables):
            bound.setdefault(variable, (alias, f"c{column}"))
    for place, condition in enumerate(production.negative):
        yield {f"q{place}$not": _expression(condition, bound, first=False)}


def _expression(condition: Condition, bound: dict[int, tuple[str, str]], *, first: bool) -> dict[str, Any]:
    kind = {"kind": f"a{condition.alpha}"}
    if first:
        return kind
    joins: list[dict[str, Any]] = [
        {f"c{column}": {bound[variable][0]: bound[variable][1]}}
        for column, variable in enumerate(condition.variables)
        if variable in bound
    ]
    return {"$and": [kind, *joins, {"one": {"p0": "one"}}]}


def partition(productions: Sequence[Production]) -> list[list[int]]:
    """Indices of productions in groups of at most 30, in each of which no alpha has more than 60 patterns."""
    groups: list[list[int]] = []
    counts: dict[int, int] = {}
    for index, production in enumerate(productions):
        mine: dict[int, int] = {}
        for condition in (*production.positive, *production.negative):
            mine[condition.alpha] = mine.get(condition.alpha, 0) + 1
        full = not groups or len(groups[-1]) == MAX_RULES
        if full or any(counts.get(alpha, 0) + number > MAX_TESTS for alpha, number in mine.items()):
            groups.append([])
            counts = {}
        groups[-1].append(index)
        for alpha, number in mine.items():
            counts[alpha] = counts.get(alpha, 0) + number
    return groups


class _Identifiers:
    """Ids for message numbers, no two of which hash alike (32-bit FNV-1a, as the library does)."""

    def __init__(self) -> None:
        self._taken = {_hash("sid-0")}  # the library's own message of the state
        self._known: dict[int, str] = {}

    def of(self, number: int) -> str:
        known = self._known.get(number)
        if known is None:
            known = f"m{number}"
            while _hash(known) in self._taken:
                known += "x"
            self._taken.add(_hash(known))
            self._known[number] = known
        return known


@lru_cache(maxsize=4096)
def _prefix_hash(text: str) -> int:
    value = _FNV_BASIS
    for byte in text.encode("ascii"):
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value


def _hash(text: str) -> int:
    """FNV-1a of ``text``; all but the last two characters are looked up."""
    value = _prefix_hash(text[:-2])
    for byte in text[-2:].encode("ascii"):
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value
