"""Tests of one field: what they mean, null and versions included."""

from __future__ import annotations

import pytest

from mlx_diagnose.engine.rulebase.predicates import FieldTest, bad_range, contradiction, predicate


def holds(operator, argument, value):
    return predicate(FieldTest("f", operator, argument))(value)


@pytest.mark.parametrize(
    ("operator", "argument", "true_for", "false_for"),
    [
        ("equals", "a", ["a"], ["b", None, ""]),
        ("equals", None, [None], ["", 0, False]),
        ("not", "a", ["b", ""], ["a", None]),
        ("not", None, ["a", "", 0, False], [None]),
        ("in", ("a", None), ["a", None], ["b"]),
        ("not-in", ("a", "b"), ["c"], ["a", None]),
        ("matches", "b+", ["abbc"], ["ac", None]),
        ("contains", "b", ["abc"], ["ac", None]),
        ("starts-with", "a", ["ab"], ["ba", None]),
        ("ends-with", "a", ["ba"], ["ab", None]),
        ("lt", 3, [2, 2.9, -1], [3, None]),
        ("le", 3, [3], [3.1, None]),
        ("gt", 0.5, [1], [0.5, None]),
        ("ge", 2**63 - 1, [2**63 - 1], [2**63 - 2, None]),
        ("null", True, [None], ["", 0, False]),
        ("null", False, ["", 0, False], [None]),
        ("version", ">=0.4,<0.5", ["0.4.0", "0.4.9", "0.4.3.dev1"], ["0.3", "0.5", "0.5.0rc1", None, "unknown", ""]),
        ("version", "==0.3.*", ["0.3.1"], ["0.4"]),
        ("version", "<0.6", ["0.5.9", "0.5.9rc1"], ["0.6.0", "0.6.0a1"]),
    ],
)
def test_meaning(operator, argument, true_for, false_for):
    assert [value for value in true_for if not holds(operator, argument, value)] == []
    assert [value for value in false_for if holds(operator, argument, value)] == []


@pytest.mark.parametrize(
    "text", [">=0.4", "==1.2.*", "~=1.4", ">=1,<2", " >= 1.0 , < 2", "!=3", ">=2024.1.1rc1", "==1.0+local"]
)
def test_ranges(text):
    assert bad_range(text) is None


@pytest.mark.parametrize("text", ["", "0.4", ">=", "=>1", ">=a", "latest", ">=1;", ">=1.*", ">=1,,<2", "~=1"])
def test_what_is_no_range(text):
    assert bad_range(text) is not None


@pytest.mark.parametrize(
    ("tests", "plain"),
    [
        ([("gt", 1), ("lt", 2)], False),
        ([("gt", 2), ("lt", 1)], True),
        ([("ge", 2), ("le", 2)], False),
        ([("gt", 2), ("le", 2)], True),
        ([("in", ("a", "b")), ("not", "a")], False),
        ([("in", ("a",)), ("not", "a")], True),
        ([("equals", "a"), ("contains", "b")], True),
        ([("null", True), ("contains", "b")], True),
        ([("null", False), ("contains", "b")], False),
        ([("in", (None, "a")), ("null", True)], True),
        ([("starts-with", "a"), ("ends-with", "b")], False),
    ],
)
def test_contradictions(tests, plain):
    found = contradiction(tuple(FieldTest("f", operator, argument) for operator, argument in tests))
    assert (found is not None) == plain, found
