"""Patches of the text: the data are what the patch makes of them, and the rest is as it was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.adapters.config_patch import apply_patch
from mlx_diagnose.adapters.config_text import patch_text

TEXT = """{
    "model_type": "soprano",
    "rates": [8, 5, 4],   "rope": {"theta": 1e4},
    "n_layers": 17,
    "last": true
}
"""


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ({"op": "replace", "path": "/n_layers", "value": 3}, '"n_layers": 17', '"n_layers": 3'),
        ({"op": "move", "from": "/n_layers", "path": "/num_hidden_layers"}, '"n_layers"', '"num_hidden_layers"'),
        ({"op": "remove", "path": "/n_layers"}, '    "n_layers": 17,\n', ""),
        ({"op": "remove", "path": "/last"}, ',\n    "last": true', ""),
        ({"op": "add", "path": "/new", "value": "ä"}, "true\n", 'true,\n    "new": "ä"\n'),
        ({"op": "add", "path": "/rates/1", "value": 9}, "[8, 5, 4]", "[8, 9, 5, 4]"),
        ({"op": "add", "path": "/rates/-", "value": 9}, "[8, 5, 4]", "[8, 5, 4, 9]"),
        ({"op": "remove", "path": "/rates/0"}, "[8, 5, 4]", "[5, 4]"),
        ({"op": "replace", "path": "/rope/theta", "value": 2.5}, "1e4", "2.5"),
        (
            {"op": "add", "path": "/section/key", "value": 1},
            "true\n",
            'true,\n    "section": {\n        "key": 1\n    }\n',
        ),
    ],
)
def test_only_what_is_patched_changes(step: dict[str, Any], before: str, after: str) -> None:
    assert TEXT.count(before) == 1
    assert patch_text(TEXT, [step]) == TEXT.replace(before, after)


def test_a_key_that_stands_twice_is_written_once() -> None:
    patched = patch_text('{"a": 1, "a": 2, "b": 3}', [{"op": "remove", "path": "/a"}])
    assert json.loads(patched) == {"b": 3}


@pytest.mark.parametrize("text", ["{}", '{"a":1,"b":[]}', '{\n\t"a": {}\n}'])
def test_other_styles(text: str) -> None:
    for path in ("/new", "/a/new", "/b/-"):
        step = {"op": "add", "path": path, "value": {"k": [1, {"x": None}]}}
        try:
            wanted = apply_patch(json.loads(text), [step])
        except ValueError:
            continue
        assert json.loads(patch_text(text, [step])) == wanted


_NAMES = st.text(max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | _NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    config=st.dictionaries(_NAMES, _VALUES, max_size=5),
    name=_NAMES,
    value=_VALUES,
    indent=st.sampled_from([None, 2, "\t"]),
    data=st.data(),
)
def test_any_names_and_values(config: dict[str, Any], name: str, value: Any, indent: Any, data: st.DataObject) -> None:
    text = json.dumps(config, indent=indent)
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    steps: list[dict[str, Any]] = [{"op": "add", "path": pointer, "value": value}]
    if config:
        old = data.draw(st.sampled_from(list(config)))
        origin = "/" + old.replace("~", "~0").replace("/", "~1")
        steps.append(
            data.draw(
                st.sampled_from([{"op": "move", "from": origin, "path": pointer}, {"op": "remove", "path": origin}])
            )
        )
    wanted = apply_patch(config, steps)
    assert json.dumps(json.loads(patch_text(text, steps)), sort_keys=True) == json.dumps(wanted, sort_keys=True)
