"""Counting matches before an engine is asked for them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.inference import available_engines, budget, infer
from mlx_diagnose.engine.inference.network import Condition, Message, Production, compile_network
from tests.engine.inference.rule_making import make_base, make_memory


def brute_force(production: Production, messages: list[Message], limit: int) -> bool:
    """Whether some prefix of the patterns has more than ``limit`` matches."""
    for length in range(1, len(production.positive) + 1):
        count = 0
        pools = [[m for m in messages if m.alpha == c.alpha] for c in production.positive[:length]]
        for chosen in itertools.product(*pools):
            bound: dict[int, int] = {}
            count += all(
                bound.setdefault(variable, token) == token
                for condition, message in zip(production.positive, chosen, strict=False)
                for variable, token in zip(condition.variables, message.tokens, strict=True)
            )
        if count > limit:
            return True
    return False


conditions = st.lists(
    st.tuples(st.integers(1, 2), st.lists(st.integers(0, 2), min_size=2, max_size=2, unique=True)),
    min_size=1,
    max_size=3,
)
facts = st.lists(st.tuples(st.integers(1, 2), st.tuples(st.integers(1, 3), st.integers(1, 3))), max_size=8)


@given(conditions, facts, st.integers(1, 40))
def test_counts_are_those_of_brute_force(patterns, given_facts, limit):
    production = Production(0, 0, tuple(Condition(a, tuple(v)) for a, v in patterns), (), ())
    messages = [Message(alpha, number, tokens) for number, (alpha, tokens) in enumerate(given_facts)]
    found = budget.overflowing([production], messages, limit=limit)
    assert found == ({0} if brute_force(production, messages, limit) else set())


@pytest.mark.parametrize("joined", [True, False])
def test_a_large_join_is_counted_quickly(joined):
    one = Production(0, 0, tuple(Condition(1, (0 if joined else place,)) for place in range(4)), (), ())
    messages = [Message(1, number, (number,)) for number in range(5000)]
    assert budget.overflowing([one], messages) == (set() if joined else {0})


def test_patterns_are_put_in_an_order_in_which_each_joins_an_earlier_one():
    base = make_base(
        a="when: [{fact: config_key, where: {path: $p}}, {fact: absent_key, where: {path: $q}}, "
        "{fact: key_similarity, where: {given: $p, wanted: $q}}]\nfinding: {cause: '{p} {q}'}"
    )
    assert compile_network(base.rules).productions[0].order == (0, 2, 1)
    facts = [
        fact
        for n in range(300)
        for fact in (
            ("config_key", {"path": f"p{n}"}),
            ("absent_key", {"path": f"q{n}"}),
            ("key_similarity", {"given": f"p{n}", "wanted": f"q{n}"}),
        )
    ]
    for engine in available_engines():
        inference = infer(base, make_memory(*facts), engine=engine)
        assert inference.notes == () and len(inference.findings) == 300
        assert [alias for alias, _ in inference.activations[0].facts] == ["config_key", "absent_key", "key_similarity"]
