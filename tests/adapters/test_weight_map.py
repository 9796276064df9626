"""Weight maps: what comes out, how each tensor is made, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.adapters.name_template import TemplateError, escaped, parse
from mlx_diagnose.adapters.tensor_recipe import Cast, Computed, Joined, Part, Stored, Transposed, stored
from mlx_diagnose.adapters.weight_map import plan, result
from mlx_diagnose.adapters.weight_operations import Operation, WeightMapError, describe, read

F32 = "float32"


def names_after(operations: list[Operation], *names: str) -> list[str]:
    return list(result(operations, dict.fromkeys(names, (F32, (2,)))))


def test_a_prefix_is_removed_and_what_lacks_it_stays() -> None:
    operations = [{"op": "rename", "from": "module.{rest}", "to": "{rest}"}]
    assert names_after(operations, "module.a.weight", "b") == ["a.weight", "b"]


def test_one_operation_renames_a_tensor_of_every_layer() -> None:
    operations = [{"op": "rename", "from": "h.{i}.attn.{rest}", "to": "layers.{i}.self_attn.{rest}"}]
    before = ("h.0.attn.q.weight", "h.11.attn.q.bias", "h.x.attn.q.weight", "h.0.mlp.weight")
    assert names_after(operations, *before) == [
        *("layers.0.self_attn.q.weight", "layers.11.self_attn.q.bias"),
        *("h.x.attn.q.weight", "h.0.mlp.weight"),
    ]


def test_numbers_may_be_limited_to_some_layers() -> None:
    operations = [{"op": "drop", "name": "layers.{i:0..1,3}.w"}]
    assert names_after(operations, *(f"layers.{number}.w" for number in range(5))) == ["layers.2.w", "layers.4.w"]


def test_operations_build_on_each_other_and_keep_the_order_of_the_file() -> None:
    table = {"x.qkv": (F32, (12, 4)), "x.conv": ("bfloat16", (8, 3, 5)), "other": (F32, (1,))}
    operations: list[Operation] = [
        {"op": "split", "from": "x.qkv", "axis": 0, "to": ["x.q", "x.kv"], "sizes": [8, 4]},
        {"op": "split", "from": "x.kv", "axis": 0, "to": ["x.k", "x.v"]},
        {"op": "transpose", "name": "x.conv", "axes": [0, 2, 1]},
        {"op": "cast", "name": "x.conv", "dtype": F32},
        {"op": "rename", "from": "x.{rest}", "to": "y.{rest}"},
    ]
    made = plan(operations, table)
    whole = Stored("x.qkv", F32, (12, 4))
    assert made == {
        "y.q": Part(whole, 0, 0, 8),
        "y.k": Part(Part(whole, 0, 8, 12), 0, 0, 2),
        "y.v": Part(Part(whole, 0, 8, 12), 0, 2, 4),
        "y.conv": Cast(Transposed(Stored("x.conv", "bfloat16", (8, 3, 5)), (0, 2, 1)), F32),
        "other": Stored("other", F32, (1,)),
    }
    assert list(made) == ["y.q", "y.k", "y.v", "y.conv", "other"]
    assert {name: (recipe.dtype, recipe.shape) for name, recipe in made.items()} == result(operations, table)
    assert result(operations, table)["y.conv"] == (F32, (8, 5, 3))


def test_joined_and_stacked() -> None:
    table = {f"h.{i}.{part}": (F32, (rows, 4)) for i in range(2) for part, rows in (("q", 8), ("k", 2))}
    joined = plan([{"op": "join", "from": ["h.{i}.q", "h.{i}.k"], "axis": 0, "to": "h.{i}.qk"}], table)
    assert {name: recipe.shape for name, recipe in joined.items()} == {"h.0.qk": (10, 4), "h.1.qk": (10, 4)}
    assert [leaf.name for leaf in stored(joined["h.1.qk"])] == ["h.1.q", "h.1.k"]
    experts = {f"h.{i}.experts.{e}.w": (F32, (4, 4)) for e in (2, 0, 1) for i in range(2)}
    stack: Operation = {"op": "stack", "from": "h.{i}.experts.{e}.w", "over": "e", "axis": 0, "to": "h.{i}.experts.w"}
    stacked = plan([stack], experts)
    assert stacked["h.0.experts.w"].shape == (3, 4, 4)
    assert isinstance(stacked["h.0.experts.w"], Joined)
    assert [leaf.name for leaf in stored(stacked["h.0.experts.w"])] == [f"h.0.experts.{e}.w" for e in range(3)]


def test_a_buffer_is_added() -> None:
    add: Operation = {"op": "add", "name": "ids", "how": "arange", "shape": [1, 8], "dtype": "int32"}
    assert plan([add], {"w": (F32, (2,))})["ids"] == Computed("arange", "int32", (1, 8))


def op(kind: str, /, **more: Any) -> Operation:
    return {"op": kind, **({"from": more.pop("source")} if "source" in more else {}), **more}


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (op("rename", source="absent", to="b"), "no tensor is called 'absent'"),
        (op("rename", source="a.{rest}", to="b"), "does not have the places"),
        (op("rename", source="a.w", to="b.w"), "two tensors would be called 'b.w'"),
        (op("transpose", name="a.w", axes=[0, 0]), "not an order of 2 axes"),
        (op("transpose", name="a.w", axes=[2, 1, 0]), "'a.w' has 2 axes, not 3"),
        (op("cast", name="a.w", dtype="float99"), "is not a type"),
        (op("split", source="a.w", axis=0, to=["c", "d", "e"]), "4 long along axis 0, which is not 1 \\+ 1 \\+ 1"),
        (op("split", source="a.w", axis=2, to=["c", "d"]), "no axis 2"),
        (op("split", source="a.w", axis=True, to=["c", "d"]), "axis is a number"),
        (op("split", source="a.w", axis=0, to=["c", "c"]), "a name stands twice"),
        (op("join", source=["a.w", "b.w"], axis=0, to="c"), "does not go with"),
        (op("join", source=["a.w"], axis=0, to="c"), "two names or more"),
        (op("stack", source="a.{i}", over="rest", axis=0, to="c"), "over names a number"),
        (op("add", name="a.w", how="arange", shape=[2], dtype="int32"), "there is a tensor called"),
        (op("add", name="n", how="arange", shape=[1 << 40], dtype="int32"), "at most"),
        (op("add", name="n", how="eval", shape=[1], dtype="int32"), "not a way to compute"),
        (op("add", name="n", how="constant", shape=[1], dtype="int32", value=float("nan")), "finite"),
        (op("exec", name="a"), "there is no operation 'exec'"),
        (op("drop", name="a.w", why="x"), "it takes name, not name, why"),
        (op("drop", name="a.{i:3..1}"), "neither a number nor a run"),
        (op("drop", name="a.{"), "write it twice"),
        (op("drop", name=""), "not empty"),
        (op("drop", name=["a.w"]), "a name is a text"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_number(operation: Operation, words: str) -> None:
    table = {"a.w": (F32, (4, 3)), "b.w": (F32, (4, 2)), "a.1": (F32, (1,))}
    with pytest.raises(WeightMapError, match=rf"^operation 2( \(\w+\))?: .*{words}"):
        plan([{"op": "cast", "name": "a.1", "dtype": F32}, operation], table)


@pytest.mark.parametrize("data", [None, "rename", {"op": "drop"}, [1], [[]]])
def test_other_data_is_no_weight_map(data: object) -> None:
    with pytest.raises(WeightMapError):
        read(data)


def test_a_pile_of_operations_on_one_tensor_is_refused() -> None:
    with pytest.raises(WeightMapError, match="piled on"):
        plan([{"op": "transpose", "name": "a", "axes": [1, 0]}] * 1000, {"a": (F32, (2, 3))})


ANY_NAME = st.text(min_size=1, max_size=30) | st.sampled_from(
    ["'; import os", '"""', "a\nb", "{}", "{i}", "(.*)+$", "\\", "\x1b[31m", "${HOME}", "{{rest}}"]
)


@given(ANY_NAME, ANY_NAME)
def test_names_are_text_whatever_they_hold(old: str, new: str) -> None:
    operation: Operation = {"op": "rename", "from": escaped(old), "to": escaped(new)}
    assert list(result([operation], {old: (F32, ())})) == [new]
    assert parse(escaped(old)).match(old) == {}
    assert json.loads(json.dumps(operation)) == operation


@given(st.text(max_size=40))
def test_a_template_parses_or_says_why(text: str) -> None:
    try:
        template = parse(text)
    except TemplateError:
        return
    name = template.fill(dict.fromkeys(template.places, "7"))
    assert template.match(name) is not None or ":" in text


def test_a_hostile_name_takes_no_time() -> None:
    assert parse("{head}.x.{rest}").match("." * 5000) is None


def test_operations_read_as_words() -> None:
    assert describe({"op": "rename", "from": 'a"b', "to": "c"}) == 'rename "a\\"b" to "c"'
    assert describe({"op": "transpose", "name": "w", "axes": [0, 2, 1]}) == 'take the axes of "w" as (0, 2, 1)'
