"""Adapters in YAML: what is written reads back the same, and what is wrong is told with its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.adapters.adapter import Adapter
from mlx_diagnose.adapters.adapter_yaml import InvalidAdapter, read_adapter, write_adapter
from mlx_diagnose.adapters.name_template import escaped

WHOLE = """\
adapter: soprano-80m
title: n_layers is num_hidden_layers
category: tts
models: ["Soprano-80M*"]
families: [soprano]
mlx_audio: ">=0.4,<0.7"
config_patch:
  - {op: move, from: /n_layers, path: /num_hidden_layers}
weight_map:
  - {op: rename, from: "module.{rest}", to: "{rest}"}
verified: {mlx-audio: "0.6.2"}
"""


def test_it_is_read() -> None:
    assert read_adapter(WHOLE, "a.yaml") == Adapter(
        "soprano-80m",
        title="n_layers is num_hidden_layers",
        models=("Soprano-80M*",),
        families=("soprano",),
        mlx_audio=">=0.4,<0.7",
        config_patch=({"op": "move", "from": "/n_layers", "path": "/num_hidden_layers"},),
        weight_map=({"op": "rename", "from": "module.{rest}", "to": "{rest}"},),
        verified={"mlx-audio": "0.6.2"},
        source="a.yaml",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("category: tts", "category: tss", "a.yaml:3:11: category cannot be 'tss'. Did you mean 'tts'?"),
        ("title:", "titel:", "a.yaml:2:1: an adapter has no key 'titel'. Did you mean 'title'?"),
        ("adapter: soprano-80m", "adapter: ../x", "a.yaml:1:10: '../x' is no name."),
        ('">=0.4,<0.7"', "newest", "a.yaml:6:12: 'newest' is no range of versions."),
        ("op: move", "op: mvoe", "a.yaml:8:5: not an operation of RFC 6902: there is no operation 'mvoe'"),
        ("from: /n_layers", "from: n_layers", "a.yaml:8:5: not an operation of RFC 6902: 'n_layers' is not a JSON"),
        ('to: "{rest}"', 'to: "{other}"', "a.yaml:10:5: "),
        ("adapter: soprano-80m\n", "", "a.yaml:1:1: an adapter lacks the key 'adapter'"),
        ("families: [soprano]", "environment: {PYTHONPATH: x}", "a.yaml:5:14: PYTHONPATH decides which code runs"),
        ("families: [soprano]", "environment: {HF_TOKEN: x}", "a.yaml:5:14: HF_TOKEN is a secret"),
        ("families: [soprano]", "environment: {A B: x}", "a.yaml:5:14: 'A B' is no name of a variable"),
        ("families: [soprano]", "shims: [metal-kernel]", "a.yaml:5:8: there is no shim 'metal-kernel'. Did you mean"),
        ("title:", "adapter: b\ntitle:", "a.yaml:2:1: key 'adapter' is given twice"),
        ('models: ["Soprano-80M*"]\nfamilies: [soprano]\n', "", "a.yaml:1:1: an adapter names models or families"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, said: str) -> None:
    assert old in WHOLE
    with pytest.raises(InvalidAdapter) as caught:
        read_adapter(WHOLE.replace(old, new), "a.yaml")
    assert any(str(problem).startswith(said) for problem in caught.value.problems), caught.value.why


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.sampled_from(
    [
        "no",
        "1e5",
        "~",
        "null",
        "0x10",
        "- a",
        "a: b",
        "#",
        "\u2028",
        "\x85",
        "\ufeff",
        "'\"",
        "{",
        "%YAML",
        "!!python/x",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(title=TEXTS, model=TEXTS.filter(bool), key=TEXTS, value=VALUES, tensor=TEXTS.filter(bool))
def test_any_names_read_back_the_same(title: str, model: str, key: str, value: Any, tensor: str) -> None:
    adapter = Adapter(
        "a",
        title=title,
        models=(model,),
        config_patch=({"op": "add", "path": "/" + key.replace("~", "~0").replace("/", "~1"), "value": value},),
        weight_map=({"op": "drop", "name": escaped(tensor)},),
        source="f",
    )
    again = read_adapter(write_adapter(adapter), "f")
    assert again == adapter
    assert repr(again.config_patch) == repr(adapter.config_patch)
