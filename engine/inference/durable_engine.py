"""durable_rules 2.0.28, kept to the subset in which it gives right answers.

Used freely this library crashes, hangs and loses facts. The guard rails, each of which was
found by a crash or a wrong answer, and where they are kept:

- messages are flat objects of small integers with a ``kind`` (network.py), so its JSON
  parser meets no text, no null, no float, and no field name of a user;
- every pattern tests ``kind``, which is its alpha; two patterns of one rule never have the
  same kind, since a message may stand in a match only once (and two patterns that are alike
  lose all matches): the second gets copies of the messages under a kind of its own;
- a message satisfies as many tests as there are patterns of its kind in a ruleset, and no
  ruleset has more than 60 of them (error 303 comes at 64), nor more than 30 rules;
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

from collections.abc import Callable, Iterator, Sequence
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
        import durable_rules_engine
        from durable import engine

        self._delete: Callable[[int], object] = durable_rules_engine.delete_ruleset
        self._not_handled: type[Exception] = engine.MessageNotHandledException
        self._observed: type[Exception] = engine.MessageObservedException
        self._matches: list[Match] = []
        self._ids = _Identifiers()
        self._routes: dict[tuple[int, int], list[str]] = {}

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
            for role in {role for index in group for role in _roles(productions[index])}:
                self._routes.setdefault(role, []).append(name)

    def assert_messages(self, messages: Sequence[Message]) -> list[Match]:
        """Assert the messages one at a time; the matches that are new."""
        for message in messages:
            columns = {f"c{column}": token for column, token in enumerate(message.tokens)}
            copy = 0
            while routes := self._routes.get((message.alpha, copy)):
                name = self._ids.of(message.number, copy)
                content = {"id": name, "kind": _kind((message.alpha, copy)), "n": message.number, "one": 1, **columns}
                for ruleset in routes:
                    self._assert(ruleset, dict(content))
                copy += 1
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
        for ruleset in self._host._ruleset_list if hasattr(self, "_host") else ():
            self._delete(ruleset._handle)


#: An alpha, and which pattern of a rule on that alpha it is for: 0 the first, 1 the second...
Role = tuple[int, int]


def _kind(role: Role) -> str:
    return f"a{role[0]}" if role[1] == 0 else f"a{role[0]}x{role[1]}"


def _roles(production: Production) -> list[Role]:
    """The role of each condition, the positive ones first."""
    seen: dict[int, int] = {}
    roles: list[Role] = []
    for condition in (*production.positive, *production.negative):
        copy = seen.get(condition.alpha, 0)
        seen[condition.alpha] = copy + 1
        roles.append((condition.alpha, copy))
    return roles


def _patterns(production: Production) -> Iterator[dict[str, Any]]:
    bound: dict[int, tuple[str, str]] = {}
    kinds = [_kind(role) for role in _roles(production)]
    for place, condition in enumerate(production.positive):
        alias = f"p{place}"
        yield {alias: _expression(kinds[place], condition, bound, first=place == 0)}
        for column, variable in enumerate(condition.variables):
            bound.setdefault(variable, (alias, f"c{column}"))
    for place, condition in enumerate(production.negative):
        kind = kinds[len(production.positive) + place]
        yield {f"q{place}$not": _expression(kind, condition, bound, first=False)}


def _expression(kind: str, condition: Condition, bound: dict[int, tuple[str, str]], *, first: bool) -> dict[str, Any]:
    if first:
        return {"kind": kind}
    joins: list[dict[str, Any]] = [
        {f"c{column}": {bound[variable][0]: bound[variable][1]}}
        for column, variable in enumerate(condition.variables)
        if variable in bound
    ]
    return {"$and": [{"kind": kind}, *joins, {"one": {"p0": "one"}}]}


def partition(productions: Sequence[Production]) -> list[list[int]]:
    """Indices of productions in groups of at most 30, in each of which no role has more than 60 patterns."""
    groups: list[list[int]] = []
    counts: dict[Role, int] = {}
    # Productions that share alphas go together, so that few messages go to several rulesets.
    for roles, index in sorted((sorted(_roles(production)), index) for index, production in enumerate(productions)):
        if not groups or len(groups[-1]) == MAX_RULES or any(counts.get(role, 0) >= MAX_TESTS for role in roles):
            groups.append([])
            counts = {}
        groups[-1].append(index)
        for role in roles:
            counts[role] = counts.get(role, 0) + 1
    return groups


class _Identifiers:
    """Ids for message numbers, no two of which hash alike (32-bit FNV-1a, as the library does)."""

    def __init__(self) -> None:
        self._taken = {_hash("sid-0")}  # the library's own message of the state
        self._known: dict[Role, str] = {}

    def of(self, number: int, copy: int) -> str:
        known = self._known.get((number, copy))
        if known is None:
            known = f"m{number}" if copy == 0 else f"m{number}x{copy}"
            while _hash(known) in self._taken:
                known += "x"
            self._taken.add(_hash(known))
            self._known[number, copy] = known
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
