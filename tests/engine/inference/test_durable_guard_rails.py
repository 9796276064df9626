"""Nothing that a rule or a fact can hold reaches the part of durable_rules that crashes or lies.

Every test runs a process of its own, so that a crash is seen as one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlx_diagnose.engine.inference import available_engines
from mlx_diagnose.engine.inference.durable_engine import (
    MAX_RULES,
    MAX_TESTS,
    _hash,
    _Identifiers,
    _patterns,
    _roles,
    partition,
)
from mlx_diagnose.engine.inference.network import Condition, Production, compile_network
from tests.engine.inference.rule_making import make_base

pytestmark = pytest.mark.skipif("durable" not in available_engines(), reason="durable_rules is not installed")

PRELUDE = """\
import json, sys
from mlx_diagnose.engine.inference import infer
from tests.engine.inference.rule_making import make_base, make_memory
def both(base, memory):
    one, two = (infer(base, memory, engine=name) for name in ("durable", "clips"))
    assert one.activations == two.activations, (len(one.activations), len(two.activations))
    assert one.findings == two.findings and one.notes == two.notes
    return one
"""


def run(script: str) -> list[object]:
    """What the script printed as JSON lines; a crash fails the test."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PRELUDE + script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    import json

    return [json.loads(line) for line in done.stdout.splitlines()]


def test_hundreds_of_rules_on_one_kind():
    """A fact that satisfies more than 64 tests is an error in one ruleset: rules are spread over several."""
    assert run("""
body = "when: [{fact: config_key, where: {path: $p}}]\\nfinding: {cause: c%d}"
base = make_base(**{f"r{n}": body % n for n in range(300)})
print(len(both(base, make_memory(("config_key", {"path": "a"}), ("config_key", {"path": "b"}))).activations))
""") == [600]


def test_hundreds_of_tests_on_one_fact():
    assert run("""
body = "when: [{fact: config_key, where: {line: {gt: %d}}}]\\nfinding: {cause: c%d}"
base = make_base(**{f"r{n}": body % (n, n) for n in range(200)})
print(len(both(base, make_memory(("config_key", {"line": 150}))).activations))
""") == [150]


def test_twelve_alike_patterns_and_joins():
    assert run("""
def rule(*patterns):
    return make_base(a=f"when: [{', '.join(patterns)}]\\nfinding: {{cause: c}}")

memory = make_memory(*[("config_key", {"path": p, "line": n}) for p in "ab" for n in (1, 2)])
print(len(both(rule(*["{fact: config_key, where: {path: $p, line: $l}}"] * 10), memory).activations))
memory = make_memory(("config_key", {"path": "a"}))
print(len(both(rule(*["{fact: config_key, where: {path: $p}}"] * 12), memory).activations))
negations = ["{not: {fact: config_key, where: {line: %d}}}" % n for n in range(11)]
for line in (20, 10):
    memory = make_memory(("probe", {}), ("config_key", {"line": line}))
    print(len(both(rule("{fact: probe}", *negations), memory).activations))
""") == [4, 1, 1, 0]


def test_hostile_values():
    """Texts never reach the library's JSON parser; ids, sentinels and rule syntax in them mean nothing."""
    assert run(r"""
texts = [
    "", "\x00", "\x00a", '"', "\\", "'", "\n", "\r\n", "\u2028", "$s", "$m", "sid", "id", '{"a": 1}', "]}", "1e-05",
    "null", "nan", "x" * 2000, "\U0001f3b5" * 500, "\ud800", "(assert (a))", "?x", "m1", "m1x1",
]
base = make_base(
    a="when: [{fact: config_key, where: {path: $p}}, {fact: absent_key, where: {path: $p}}]\n"
    "finding: {cause: '{p}', subjects: [{kind: config_key, name: '{p}'}]}"
)
memory = make_memory(*[(kind, {"path": text}) for kind in ("config_key", "absent_key") for text in texts])
print(len(both(base, memory).activations))
""") == [25]


def test_hostile_numbers():
    assert run("""
base = make_base(
    a="when: [{fact: key_similarity, where: {score: $s}}, {fact: tensor_difference, where: {count: $s}}]\\n"
    "finding: {cause: c}"
)
infinite = float("inf")
scores = [0.0, -0.0, 1e-05, 1e308, 5e-324, infinite, -infinite, float("nan"), 2.0**53, 2.0**63]
counts = [0, -1, 2**53, 2**53 + 1, 2**63 - 1, -2**63, 2**63, 10**30]
memory = make_memory(
    *[("key_similarity", {"score": score}) for score in scores], *[("tensor_difference", {"count": c}) for c in counts]
)
print(len(both(base, memory).activations))
""") == [3]  # 0.0 (and -0.0, which is one fact with it), 2**53, 2**63


def test_patterns_that_multiply_are_left_out_at_once():
    cause, notes = run("""
base = make_base(
    cross="when: [{fact: config_key, as: a}, {fact: config_key, as: b}, {fact: config_key}]\\nfinding: {cause: c}",
    fine="when: [{fact: config_key, where: {path: '7'}}]\\nfinding: {cause: fine}",
)
inference = both(base, make_memory(*[("config_key", {"path": str(n)}) for n in range(2000)]))
print(json.dumps([finding.cause for finding in inference.findings]))
print(json.dumps(inference.notes))
""")
    assert cause == ["fine"]
    assert notes == ["left out, because their patterns match in too many ways: cross; join the patterns by variables"]


def test_many_runs_leave_no_threads():
    assert run("""
import threading
base = make_base(a="when: [{fact: probe}]\\nfinding: {cause: c}")
for _ in range(300):
    infer(base, make_memory(("probe", {})), engine="durable")
print(threading.active_count())
""") == [1]


def test_rules_are_spread_over_rulesets_within_the_limits():
    production = Production(
        0, 0, (Condition(1, ()), Condition(1, ()), Condition(2, ())), (Condition(3, ()),), (0, 1, 2)
    )
    for total in (0, 1, MAX_RULES, MAX_RULES + 1, 200):
        groups = partition([production] * total)
        assert sorted(index for group in groups for index in group) == list(range(total))
        assert all(len(group) <= MAX_RULES for group in groups)
    assert _roles(production) == [(1, 0), (1, 1), (2, 0), (3, 0)]
    assert MAX_TESTS < 64 and MAX_RULES <= 30


def test_patterns_keep_to_the_subset():
    """A test of ``kind`` first, a join that always holds last, negations behind, nothing else."""
    positive = (Condition(1, (0,)), Condition(1, (0, 1)), Condition(2, ()))
    production = Production(0, 0, positive, (Condition(3, (1,)),), (0, 1, 2))
    one = {"one": {"p0": "one"}}
    assert list(_patterns(production)) == [
        {"p0": {"kind": "a1"}},
        {"p1": {"$and": [{"kind": "a1x1"}, {"c0": {"p0": "c0"}}, one]}},
        {"p2": {"$and": [{"kind": "a2"}, one]}},
        {"q0$not": {"$and": [{"kind": "a3"}, {"c0": {"p1": "c1"}}, one]}},
    ]


def test_identifiers_never_hash_alike():
    identifiers = _Identifiers()
    names = [identifiers.of(number, copy) for number in range(60_000) for copy in range(2)]
    assert len({_hash(name) for name in names}) == len(names)
    assert any(name.endswith("x") for name in names), "among so many some collide, and are told apart"


def test_engines_are_given_no_text_of_a_rule():
    base = make_base(
        a="when: [{fact: config_key, where: {path: $evil, value: {contains: '\"}) (system'}}}]\n"
        "finding: {cause: '{evil}'}"
    )
    production = compile_network(base.rules).productions[0]
    assert production == Production(0, 0, (Condition(1, ()),), (), (0,))
