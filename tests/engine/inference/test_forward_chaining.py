"""Forward chaining: fixpoints, strata, negation, null, choice of engine."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

from mlx_diagnose.engine.inference import available_engines, infer
from mlx_diagnose.engine.inference.engines import build_engine
from mlx_diagnose.engine.inference.network import Condition, Message, Production
from mlx_diagnose.engine.inference.run import MAX_DERIVED, MAX_ROUNDS
from mlx_diagnose.engine.model import UsageError
from tests.engine.inference.rule_making import make_base, make_memory

ENGINES = available_engines()


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    return request.param


def fired(inference) -> list[tuple[str, ...]]:
    return [(a.rule, *(identifier for _, identifier in a.facts)) for a in inference.activations]


CHAIN = {
    "step": "when: [{fact: family, where: {name: $a}}, {fact: resolution, where: {declared: $a, resolved: $b}}]\n"
    "derive: {fact: family, fields: {name: $b, category: tts}}",
    "end": "when: [{fact: family, where: {name: z}}]\nfinding: {cause: found}",
}


def test_derivations_run_to_their_fixpoint(engine):
    links = [("resolution", {"declared": a, "resolved": b}) for a, b in zip("abcdefy", "bcdefyz", strict=True)]
    memory = make_memory(("family", {"name": "a", "category": "tts"}), *links)
    inference = infer(make_base(**CHAIN), memory, engine=engine)
    assert [fact["name"] for fact in inference.memory.of("family")] == list("abcdefyz")
    assert len(inference.findings) == 1 and len(memory) == len(links) + 1, "the given memory is left as it was"
    assert len(inference.derivations) == 8, "seven families and the finding"
    assert inference.engine == engine


def test_a_circle_of_derivations_ends(engine):
    links = [("resolution", {"declared": a, "resolved": b}) for a, b in ("ab", "bc", "ca")]
    inference = infer(
        make_base(**CHAIN), make_memory(("family", {"name": "a", "category": "tts"}), *links), engine=engine
    )
    assert [fact["name"] for fact in inference.memory.of("family")] == list("abc")


def test_made_up_values_without_end_are_stopped_and_told(engine):
    base = make_base(grow="when: [{fact: family, where: {name: $a}}]\nderive: {fact: family, fields: {name: 'x{a}'}}")
    inference = infer(base, make_memory(("family", {"name": "a"})), engine=engine)
    assert f"still derived new facts after {MAX_ROUNDS} rounds" in inference.notes[0] and "grow" in inference.notes[0]
    assert len(inference.memory) < MAX_DERIVED


def test_a_derivation_that_multiplies_is_stopped_and_told(engine):
    base = make_base(
        pair="when: [{fact: family, as: a}, {fact: family, as: b}]\n"
        "derive: {fact: family, fields: {name: '{a.name}{b.name}'}}"
    )
    inference = infer(base, make_memory(*[("family", {"name": c}) for c in "abcdefghij"]), engine=engine)
    assert inference.notes and len(inference.memory) <= MAX_DERIVED + 10


def test_findings_are_facts(engine):
    base = make_base(
        cause="when: [{fact: missing_argument, where: {path: $p}}]\n"
        "finding: {cause: c, stage: construct, subjects: [{kind: config_key, name: '{p}'}]}",
        other="failure_class: weights/shape\n"
        "when: [{fact: finding, where: {rule: cause, subject: $s, stage: construct}}]\n"
        "finding: {cause: 'after {s}'}",
        none="failure_class: weights/missing\nwhen: [{fact: probe}, {not: {fact: finding, where: {rule: cause}}}]\n"
        "finding: {cause: n}",
    )
    inference = infer(base, make_memory(("missing_argument", {"path": "a.b"}), ("probe", {})), engine=engine)
    assert [f.cause for f in inference.findings] == ["c", "after a.b"]
    assert [f["subject"] for f in inference.memory.of("finding")] == ["a.b", None]
    inference = infer(base, make_memory(("probe", {})), engine=engine)
    assert [f.rule for f in inference.findings] == ["none"]


def test_a_rule_of_negations_alone_fires_once(engine):
    base = make_base(nothing="when: [{not: {fact: config_file}}, {not: {fact: probe}}]\nfinding: {cause: c}")
    assert fired(infer(base, make_memory(), engine=engine)) == [("nothing",)]
    assert fired(infer(base, make_memory(("stage", {"name": "load"})), engine=engine)) == [("nothing",)]
    assert fired(infer(base, make_memory(("probe", {})), engine=engine)) == []


def test_alike_patterns_match_the_same_fact_and_all_pairs(engine):
    base = make_base(pairs="when: [{fact: family, as: a}, {fact: family, as: b}]\nfinding: {cause: '{a.name}{b.name}'}")
    inference = infer(base, make_memory(*[("family", {"name": c}) for c in "xyz"]), engine=engine)
    assert sorted(f.cause for f in inference.findings) == sorted(a + b for a in "xyz" for b in "xyz")


def test_null_joins_nothing_and_lets_a_negation_hold(engine):
    join = (
        "when: [{fact: config_key, where: {line: $l}}, {fact: quantization_block, where: {line: $l}}]\n"
        "finding: {cause: c}"
    )
    free = (
        "when: [{fact: config_key, where: {line: $l}}, {not: {fact: quantization_block, where: {line: $l}}}]\n"
        "finding: {cause: c}"
    )
    base = make_base(join=join, free=free)
    memory = make_memory(("config_key", {"path": "p"}), ("quantization_block", {"bits": 4}))
    assert fired(infer(base, memory, engine=engine)) == [("free", "config_key-1")]


def test_kinds_of_value_are_not_confused(engine):
    text = (
        "when: [{fact: config_key, where: {value: $v}}, {fact: tensor_difference, where: {tensor: $v}}]\n"
        "finding: {cause: c}"
    )
    number = (
        "when: [{fact: key_similarity, where: {score: $s}}, {fact: tensor_difference, where: {count: $s}}]\n"
        "finding: {cause: c}"
    )
    base = make_base(text=text, number=number)
    memory = make_memory(
        ("config_key", {"value": "1"}),
        ("config_key", {"value": "true"}),
        ("config_key", {"value": "1.0"}),
        ("key_similarity", {"score": 1.0}),
        ("key_similarity", {"score": 1e-05}),
        ("tensor_difference", {"tensor": "1", "count": 1}),
        ("tensor_difference", {"tensor": "1e-05", "count": 2**63 - 1}),
    )
    assert fired(infer(base, memory, engine=engine)) == [
        ("number", "key_similarity-1", "tensor_difference-1"),
        ("text", "config_key-1", "tensor_difference-1"),
    ]


def test_only_rules_that_apply_run(engine):
    base = make_base(
        old="applies_to: {mlx_audio: '<0.4', categories: [tts]}\nwhen: [{fact: probe}]\nfinding: {cause: c}"
    )
    memory = make_memory(("probe", {}))
    assert len(infer(base, memory, engine=engine, mlx_audio="0.3.0", category="tts").findings) == 1
    assert len(infer(base, memory, engine=engine, mlx_audio="0.4.0").findings) == 0
    assert len(infer(base, memory, engine=engine, category="stt").findings) == 0


def test_absent_patterns_are_part_of_the_proof(engine):
    base = make_base(
        a="when: [{fact: config_key, where: {path: $p}}, "
        "{not: {fact: absent_key, where: {path: $p, required: true}}}]\n"
        "finding: {cause: c}"
    )
    inference = infer(base, make_memory(("config_key", {"path": "x"})), engine=engine)
    assert inference.activations[0].absent == ("no absent_key(required: true, path: 'x')",)
    assert inference.activations[0].bindings == (("p", "x"),)


def test_an_engine_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="there is no engine 'prolog'"):
        infer(make_base(), make_memory(), engine="prolog")


FALLBACK = """\
import sys
from mlx_diagnose.engine.inference import infer
from tests.engine.inference.rule_making import make_base, make_memory
base = make_base(a="when: [{fact: probe}]\\nfinding: {cause: c}")
inference = infer(base, make_memory(("probe", {})))
print(inference.engine, len(inference.findings), *inference.notes)
"""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("raise ImportError('built for another Python')", "durable does not import: built for another Python"),
        (
            "import inspect\ninspect.getargspec",
            "durable does not import: module 'inspect' has no attribute 'getargspec'",
        ),
        ("print 'x'", "durable does not import: Missing parentheses"),
    ],
)
def test_clips_stands_in_for_a_durable_rules_that_does_not_import(tmp_path, content, said):
    """As on Python 3.13, where its extension module is there and its Python half does not import."""
    (tmp_path / "durable_rules_engine.py").write_text("def delete_ruleset(handle): ...\n")
    (tmp_path / "durable").mkdir()
    (tmp_path / "durable" / "__init__.py").write_text("")
    (tmp_path / "durable" / "engine.py").write_text(content)
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    done = subprocess.run(
        [sys.executable, "-c", FALLBACK],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("clips 1 durable failed, clips was used instead: " + said), done.stdout + done.stderr


def test_durable_rules_is_preferred_where_it_is_installed():
    expected = "durable" if "durable" in ENGINES else "clips"
    assert infer(make_base(), make_memory()).engine == expected


@pytest.mark.parametrize("order", [1, -1])
def test_derived_facts_are_numbered_by_what_they_say(engine, order):
    base = make_base(a="when: [{fact: config_key, where: {path: $p}}]\nderive: {fact: family, fields: {name: $p}}")
    facts = [("config_key", {"path": path}) for path in ("k2", "k10", "k1")][::order]
    inference = infer(base, make_memory(*facts), engine=engine)
    assert [(fact.id, fact["name"]) for fact in inference.memory.of("family")] == [
        ("family-1", "k1"),
        ("family-2", "k2"),
        ("family-3", "k10"),
    ]


def test_of_alternatives_that_match_the_same_facts_the_first_speaks(engine):
    base = make_base(
        a="when:\n  - {fact: config_key, where: {path: $p}}\n"
        "  - any-of: [[{not: {fact: probe}}], [{not: {fact: target}}], [{not: {fact: loader}}]]\nfinding: {cause: c}"
    )
    (activation,) = infer(base, make_memory(("config_key", {"path": "x"})), engine=engine).activations
    assert activation.absent == ("no probe()",)
    (activation,) = infer(base, make_memory(("config_key", {"path": "x"}), ("probe", {})), engine=engine).activations
    assert activation.absent == ("no target()",)


def test_an_engine_and_its_memory_are_gone_after_use(engine):
    built = build_engine(engine, [Production(0, 0, (Condition(0, ()),), (), (0,))])
    assert built.assert_messages([Message(0, 1, ())]) == [(0, (1,))]
    assert built.assert_messages([Message(0, 2, ())]) == [(0, (2,))]
    alive = weakref.ref(built)
    del built
    gc.collect()
    assert alive() is None
