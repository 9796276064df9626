"""Nothing that a rule or a fact can hold reaches the part of durable_rules that crashes or lies.

Every test runs a process of its own, so that a crash is seen as one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlx_diagnose.engine.inference import available_engines
from mlx_diagnose.engine.inference.durable_engine import MAX_RULES, MAX_TESTS, _hash, _Identifiers, _roles, partition
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
    assert run(
        "bodies = {f'r{n}': f'when: [{{fact: config_key, where: {{path: $p}}}}]\\nfinding: {{cause: c{n}}}' for n in range(300)}\n"
        "base = make_base(**bodies)\n"
        "print(len(both(base, make_memory(('config_key', {'path': 'a'}), ('config_key', {'path': 'b'}))).activations))\n"
    ) == [600]


def test_hundreds_of_tests_on_one_fact():
    assert run(
        "bodies = {f'r{n}': f'when: [{{fact: config_key, where: {{line: {{gt: {n}}}}}}}]\\nfinding: {{cause: c{n}}}' for n in range(200)}\n"
        "print(len(both(make_base(**bodies), make_memory(('config_key', {'line': 150}))).activations))\n"
    ) == [150]


def test_twelve_alike_patterns_and_joins():
    assert run(
        "body = 'when: [' + ', '.join(['{fact: config_key, where: {path: $p, line: $l}}'] * 10) + ']\\nfinding: {cause: c}'\n"
        "memory = make_memory(*[('config_key', {'path': p, 'line': n}) for p in 'ab' for n in (1, 2)])\n"
        "print(len(both(make_base(a=body), memory).activations))\n"
        "body = 'when: [' + ', '.join(['{fact: config_key, where: {path: $p}}'] * 12) + ']\\nfinding: {cause: c}'\n"
        "print(len(both(make_base(a=body), make_memory(('config_key', {'path': 'a'}))).activations))\n"
        "body = 'when: [{fact: probe}, ' + ', '.join(['{not: {fact: config_key, where: {line: %d}}}' % n for n in range(11)]) + ']\\nfinding: {cause: c}'\n"
        "print(len(both(make_base(a=body), make_memory(('probe', {}), ('config_key', {'line': 20}))).activations))\n"
        "print(len(both(make_base(a=body), make_memory(('probe', {}), ('config_key', {'line': 10}))).activations))\n"
    ) == [4, 1, 1, 0]


def test_hostile_values():
    """Texts never reach the library's JSON parser; ids, sentinels and rule syntax in them mean nothing."""
    assert run(
        "texts = ['', '\\x00', '\\x00a', '\"', '\\\\', \"'\", '\\n', '\\r\\n', '\\u2028', '$s', '$m', 'sid', 'id', '{\"a\": 1}', ']}', '1e-05', 'null', 'nan',"
        " 'x' * 2000, '\\U0001f3b5' * 500, '\\ud800', '(assert (a))', '?x', 'm1', 'm1x1']\n"
        'body = \'when: [{fact: config_key, where: {path: $p}}, {fact: absent_key, where: {path: $p}}]\\nfinding: {cause: "{p}", subjects: [{kind: config_key, name: "{p}"}]}\'\n'
        "facts = [(kind, {'path': text}) for kind in ('config_key', 'absent_key') for text in texts]\n"
        "print(len(both(make_base(a=body), make_memory(*facts)).activations), len(texts))\n".replace(", len(texts)", "")
    ) == [25]


def test_hostile_numbers():
    assert run(
        "body = 'when: [{fact: key_similarity, where: {score: $s}}, {fact: tensor_difference, where: {count: $s}}]\\nfinding: {cause: c}'\n"
        "scores = [0.0, -0.0, 1e-05, 1e308, 5e-324, float('inf'), float('-inf'), float('nan'), 2.0**53, 2.0**63]\n"
        "counts = [0, -1, 2**53, 2**53 + 1, 2**63 - 1, -2**63, 2**63, 10**30]\n"
        "facts = [('key_similarity', {'score': s}) for s in scores] + [('tensor_difference', {'count': c}) for c in counts]\n"
        "print(len(both(make_base(a=body), make_memory(*facts)).activations))\n"
    ) == [3]  # 0.0 (equal to -0.0, which is one fact with it), 2**53, 2**63


def test_patterns_that_multiply_are_left_out_at_once():
    assert run(
        "many = [('config_key', {'path': str(n)}) for n in range(2000)]\n"
        "cross = 'when: [{fact: config_key, as: a}, {fact: config_key, as: b}, {fact: config_key, as: c}]\\nfinding: {cause: c}'\n"
        "fine = 'when: [{fact: config_key, where: {path: \"7\"}}]\\nfinding: {cause: fine}'\n"
        "inference = both(make_base(cross=cross, fine=fine), make_memory(*many))\n"
        "print(json.dumps([f.cause for f in inference.findings])); print(json.dumps(inference.notes))\n"
    ) == [["fine"], ["left out, because their patterns match in too many ways: cross; join the patterns by variables"]]


def test_many_runs_leave_no_memory_threads_or_handles():
    assert run(
        "import threading\n"
        "base = make_base(a='when: [{fact: probe}]\\nfinding: {cause: c}')\n"
        "for _ in range(300): infer(base, make_memory(('probe', {})), engine='durable')\n"
        "print(threading.active_count())\n"
    ) == [1]


def test_rules_are_spread_over_rulesets_within_the_limits():
    production = Production(
        0, 0, (Condition(1, ()), Condition(1, ()), Condition(2, ())), (Condition(3, ()),), (0, 1, 2)
    )
    for total in (0, 1, MAX_RULES, MAX_RULES + 1, 200):
        groups = partition([production] * total)
        assert sorted(index for group in groups for index in group) == list(range(total))
        assert all(len(group) <= MAX_RULES for group in groups)
    assert _roles(production) == [(1, 0), (1, 1), (2, 0), (3, 0)]
    assert MAX_TESTS < 64


def test_identifiers_never_hash_alike():
    identifiers = _Identifiers()
    names = [identifiers.of(number, copy) for number in range(60_000) for copy in range(2)]
    assert len({_hash(name) for name in names}) == len(names)
    assert any(name.endswith("x") for name in names), "among so many some collide, and are told apart"


def test_engines_are_given_no_text_of_a_rule():
    base = make_base(
        a="when: [{fact: config_key, where: {path: $evil, value: {contains: '\"}) (system'}}}]\nfinding: {cause: '{evil}'}"
    )
    production = compile_network(base.rules).productions[0]
    assert production == Production(0, 0, (Condition(1, ()),), (), (0,))
