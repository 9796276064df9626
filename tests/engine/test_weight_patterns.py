"""Operations on many tensors, written as few."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.adapters.weight_map import result
from mlx_diagnose.engine.weight_patterns import on_names, renames, renumberings

LAYERS = [f"model.layers.{i}.{part}.weight" for i in range(3) for part in ("q", "k")]


def carried_out(pairs: Mapping[str, str], names: list[str], kept: tuple[str, ...] = ()) -> list[str]:
    return list(result(renames(pairs, names, kept), dict.fromkeys(names, ("float32", (1,)))))


def test_one_prefix_is_one_operation() -> None:
    pairs = {f"module.{name}": name for name in LAYERS}
    assert renames(pairs, list(pairs), ()) == [{"op": "rename", "from": "module.{rest}", "to": "{rest}"}]


def test_a_prefix_that_others_keep_is_not_changed_in_all() -> None:
    pairs = {name: f"language.{name}" for name in LAYERS}
    names = [*LAYERS, "head.weight"]
    operations = renames(pairs, names, ("head.weight",))
    assert {operation["from"] for operation in operations} == {"model.layers.{i}.q.weight", "model.layers.{i}.k.weight"}


def test_some_layers_are_named_by_their_numbers() -> None:
    (operation,) = on_names({"op": "drop"}, ["l.0.w", "l.1.w", "l.4.w"], [f"l.{i}.w" for i in range(6)])
    assert operation == {"op": "drop", "name": "l.{i:0..1,4}.w"}


def test_layers_get_other_numbers_without_meeting() -> None:
    names = [f"layers.{i}.w" for i in range(1, 4)]
    for shift in (-1, 2):
        pairs = {name: f"layers.{int(name.split('.')[1]) + shift}.w" for name in names}
        made = result(renumberings(pairs), {name: ("float32", (number,)) for number, name in enumerate(names)})
        assert made == {pairs[name]: ("float32", (number,)) for number, name in enumerate(names)}


def test_layers_that_change_places_have_no_order() -> None:
    assert renumberings({"layers.0.w": "layers.1.w", "layers.1.w": "layers.0.w"}) == []


NAMES = st.lists(
    st.lists(st.sampled_from(["a", "b", "0", "1", "2", "{x}", "layers", "w"]), min_size=1, max_size=4).map(".".join),
    min_size=1,
    max_size=12,
    unique=True,
)


@given(NAMES, st.data())
def test_the_operations_do_what_the_pairs_say_and_no_more(names: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    pairs = {name: f"new.{name}" for name in chosen if f"new.{name}" not in names}
    kept = tuple(name for name in names if name not in pairs)
    if pairs:
        assert sorted(carried_out(pairs, names, kept)) == sorted([*pairs.values(), *kept])


def test_a_number_that_is_no_part_of_its_own_in_the_new_name_is_still_one_of_all_layers() -> None:
    pairs = {f"s3.flow.encoders.{i}.w_1.weight": f"s3.flow.encoders_{i}.w_1.weight" for i in range(4)}
    (operation,) = renames(pairs, list(pairs), ())
    assert operation["to"] == "s3.flow.encoders_{i}.w_1.weight"
    assert carried_out(pairs, list(pairs)) == list(pairs.values())
