"""RFC 6902, on copies; the examples are those of the RFC's appendix where it has one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch, patch_between


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": 1}], {"foo": ["bar", 1]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
        (
            {"~1": 1, "/": 2},
            [{"op": "replace", "path": "/~01", "value": 3}, {"op": "remove", "path": "/~1"}],
            {"~1": 3},
        ),
        ({}, [{"op": "add", "path": "/section/key", "value": 1}], {"section": {"key": 1}}),
        ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
    ],
)
def test_a_patch_changes_a_copy(
    document: dict[str, Any], patch: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    before = repr(document)
    assert apply_patch(document, patch) == expected
    assert repr(document) == before


@pytest.mark.parametrize(
    "step",
    [
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "remove", "path": "/absent"},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "frobnicate", "path": "/a"},
        {"op": "add", "path": "no-pointer", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "", "value": 1},
        {"op": "add", "path": "/b"},
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_step(step: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        apply_patch({"a": 1}, [step])


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text("ab~/01", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("ab~/01", max_size=3), JSON, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_patch_between_two_configs_leads_from_one_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = patch_between(old, new)
    assert json.dumps(apply_patch(old, patch), sort_keys=True) == json.dumps(new, sort_keys=True)
    assert len({step["path"] for step in patch}) == len(patch)
    assert patch_between(new, new) == []
