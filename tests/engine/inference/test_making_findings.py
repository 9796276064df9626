"""Findings from activations: texts, merging, order, fixes."""

from __future__ import annotations

import itertools

import pytest

from mlx_diagnose.engine.inference import infer
from mlx_diagnose.engine.inference.fixes import pointer
from mlx_diagnose.engine.model import Explains, Subject
from tests.engine.inference.rule_making import make_base, make_memory

MISSING = "when: [{fact: missing_argument, as: arg, where: {path: $path}}]\n"


def missing(*paths: str, **more: object):
    return make_memory(*(("missing_argument", {"path": p, "class_name": "C", **more}) for p in paths))


def findings(body: str, memory, **options):
    return infer(make_base(a=body), memory, engine="clips", **options).findings


def test_texts_are_filled_and_nothing_is_evaluated():
    (found,) = findings(
        MISSING + "finding: {cause: '{arg.class_name} {path} {{x}} {arg.section}', "
        "title: 'No {path}', stage: construct, confidence: 0.5}",
        missing("{arg.id} {0.__class__}"),
    )
    assert found.cause == "C {arg.id} {0.__class__} {x} (nothing)"
    assert (found.title, found.stage, found.confidence) == ("No {arg.id} {0.__class__}", "construct", 0.5)
    assert (found.id, found.rule, found.failure_class, found.severity) == ("f1", "a", "config/missing-key", "error")
    assert found.evidence == ("missing_argument-1",) and found.activation is not None


@pytest.mark.parametrize(("value", "stage"), [("load", "load"), ("nonsense", None), ("", None)])
def test_a_stage_may_be_a_template(value, stage):
    (found,) = findings(MISSING + "finding: {cause: c, stage: '{arg.stage}'}", missing("p", stage=value))
    assert found.stage == stage


def test_activations_merge_where_the_rule_says_so():
    body = MISSING + (
        "explains: [{failure_class: weights/*, subject: $path}, {failure_class: code/init-error}]\n"
        "finding: {cause: '{count} missing: {subjects}', one_for: ['{arg.class_name}'],"
        " subjects: [{kind: config_key, name: '{path}'}],"
        " fixes: [{kind: config-patch, title: 'Add {subjects}', patch: [{op: add, key: '{path}', json: '0'}]},"
        "         {kind: config-patch, title: 'Add {path}', patch: [{op: add, key: '{path}', json: '0'}]}]}"
    )
    (found,) = findings(body, missing("x10", "x2", "x1"))
    assert found.cause == "3 missing: x1, x2 and x10"
    assert found.subjects == tuple(Subject("config_key", name) for name in ("x1", "x2", "x10"))
    assert sorted(found.evidence) == ["missing_argument-1", "missing_argument-2", "missing_argument-3"]
    assert found.claims == (
        Explains("weights/*", "x1"),
        Explains("code/init-error"),
        Explains("weights/*", "x2"),
        Explains("weights/*", "x10"),
    )
    assert [(fix.title, [item["path"] for item in fix.config_patch]) for fix in found.fixes] == [
        ("Add x1, x2 and x10", ["/x1", "/x2", "/x10"]),
        ("Add x1", ["/x1"]),
        ("Add x2", ["/x2"]),
        ("Add x10", ["/x10"]),
    ]
    assert [fix.id for fix in found.fixes] == ["x1", "x2", "x3", "x4"]


def test_many_subjects_are_counted():
    body = MISSING + "finding: {cause: '{subjects}', one_for: [x], subjects: [{kind: config_key, name: '{path}'}]}"
    (found,) = findings(body, missing(*"abcdefgh"))
    assert found.cause == "a, b, c, d, e and 3 more" and len(found.subjects) == 8


def test_without_one_for_each_activation_is_a_finding_but_equal_ones_are_one():
    assert len(findings(MISSING + "finding: {cause: '{path}'}", missing("a", "b"))) == 2
    (found,) = findings(MISSING + "finding: {cause: same}", missing("a", "b"))
    assert len(found.evidence) == 2


def test_a_subject_without_a_name_is_left_out():
    body = (
        "when: [{fact: backend, where: {error: $e}}]\n"
        "finding: {cause: '[[{e}]]x', subjects: [{kind: package, name: $e}]}"
    )
    (found,) = findings(body, make_memory(("backend", {})))
    assert found.subjects == () and found.cause == "x"


def test_the_order_is_severity_stage_confidence_and_not_that_of_facts():
    bodies = {
        "late": MISSING + "finding: {cause: '{path}', stage: load}",
        "early": MISSING + "finding: {cause: '{path}', stage: config, confidence: 0.5}",
        "sure": MISSING + "finding: {cause: '{path}', stage: config, confidence: 0.9}",
        "soft": "severity: warning\n" + MISSING + "finding: {cause: '{path}', stage: resolve}",
    }
    base = make_base(**bodies)
    orders = [
        infer(base, missing(*paths), engine="clips").findings for paths in itertools.permutations(("b", "a10", "a9"))
    ]
    shown = [[(f.id, f.rule, f.cause, f.subjects) for f in found] for found in orders]
    assert all(one == shown[0] for one in shown)
    assert [rule for _, rule, _, _ in shown[0]] == ["sure"] * 3 + ["early"] * 3 + ["late"] * 3 + ["soft"] * 3
    assert [identifier for identifier, _, _, _ in shown[0]] == [f"f{n}" for n in range(1, 13)]


def fix_of(patch: str, memory, when: str = MISSING, **more: str):
    extra = "".join(f", {name}: {value}" for name, value in more.items())
    (found,) = findings(
        f"{when}finding: {{cause: c, fixes: [{{kind: config-patch, title: t, patch: {patch}{extra}}}]}}", memory
    )
    return found.fixes[0]


@pytest.mark.parametrize(
    ("patch", "operation"),
    [
        ("[{op: add, key: '{path}', json: '[1, {{}}, null]'}]", {"op": "add", "path": "/p/q", "value": [1, {}, None]}),
        ("[{op: add, key: '{path}', text: 'a\"b'}]", {"op": "add", "path": "/p/q", "value": 'a"b'}),
        (
            "[{op: replace, key: x.0, value: {a: [1, no]}}]",
            {"op": "replace", "path": "/x/0", "value": {"a": [1, "no"]}},
        ),
        ("[{op: add, pointer: /a~1b/c.d, value: null}]", {"op": "add", "path": "/a~1b/c.d", "value": None}),
        ("[{op: move, from: '{path}', key: r}]", {"op": "move", "from": "/p/q", "path": "/r"}),
        ("[{op: remove, key: 'a/b~c'}]", {"op": "remove", "path": "/a~1b~0c"}),
    ],
)
def test_patches_are_rfc_6902(patch, operation):
    fix = fix_of(patch, missing("p.q"))
    assert list(fix.config_patch) == [operation]
    assert (fix.applicability, fix.reason) == ("unverified", "not tried")


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ("[{op: add, key: a, json: '{path}'}]", "the value for /a is not JSON: 'p.q'"),
        ("[{op: add, key: a, json: NaN}]", "the value for /a is not JSON: 'NaN'"),
        ("[{op: add, key: a, json: '{arg.section}'}]", "the value for /a is not known"),
        ("[{op: add, key: '{arg.section}', json: '1'}]", "the config path to change is not known"),
        ("[{op: add, pointer: '{path}', json: '1'}]", "'p.q' is not a JSON pointer"),
        ("[{op: add, key: a, json: '1'}, {op: add, key: a, json: '2'}]", "ambiguous: /a would get several values"),
    ],
)
def test_a_patch_that_cannot_be_written_is_for_a_person(patch, reason):
    fix = fix_of(patch, missing("p.q"))
    assert (fix.applicability, fix.reason, fix.config_patch) == ("manual", reason, ())


def test_who_can_try_a_fix():
    body = MISSING + (
        "finding: {cause: c, fixes: [{kind: package, title: one, command: 'pip install {path}'},"
        " {kind: package, title: two, command: 'pip install {arg.section}'},"
        " {kind: hub-action, title: three}, {kind: environment, title: four, manual: true, reason: 'ask {path}'}]}"
    )
    (found,) = findings(body, missing("p"))
    assert [(fix.title, fix.applicability, fix.command) for fix in found.fixes] == [
        ("one", "unverified", "pip install p"),
        ("two", "manual", None),
        ("three", "manual", None),
        ("four", "manual", None),
    ]
    assert found.fixes[3].reason == "ask p"


def keys(*rows: tuple[str, str, str]):
    return make_memory(*(("config_key", {"path": path, "parent": parent, "name": name}) for path, parent, name in rows))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("a", "/a"),
        ("a.b.c", "/a/b/c"),
        ("m.x.y", "/m.x/y"),
        ("m.x", "/m.x"),
        ("m.x.new", "/m.x/new"),
        ("m.x.new.er", "/m.x/new/er"),
        ("s/l", "/s~1l"),
    ],
)
def test_keys_with_dots_are_told_from_nesting_by_the_facts(path, expected):
    memory = keys(("m.x", "", "m.x"), ("m.x.y", "m.x", "y"), ("s/l", "", "s/l"))
    assert pointer(path, memory) == expected
