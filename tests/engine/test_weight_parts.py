"""Which tensors are parts of which, and in what order."""

from __future__ import annotations

from mlx_diagnose.adapters.weight_map import result
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.weights_difference import Difference, compare
from mlx_diagnose.engine.weight_parts import HEADS, ORDER, Parting, partings
from mlx_diagnose.engine.weight_patterns import on_parts


def table(**rows: tuple[int, ...]) -> dict[str, TensorInfo]:
    return {name.replace("__", "."): TensorInfo("float32", shape) for name, shape in rows.items()}


def found(received: dict[str, TensorInfo], model: dict[str, TensorInfo]) -> list[Parting]:
    seen = compare(received, model)
    names = {name: name for name in received}
    return list(partings(Difference(seen.missing, seen.unexpected, seen.shape, names=names), received, model))


def test_the_order_of_the_parts_is_that_of_the_name() -> None:
    model = table(h__v_proj__weight=(8, 16), h__k_proj__weight=(8, 16), h__q_proj__weight=(32, 16))
    (one,) = found(table(h__qkv__weight=(48, 16)), model)
    assert one.parts == ("h.q_proj.weight", "h.k_proj.weight", "h.v_proj.weight")
    assert (one.operation, one.sizes, one.doubt) == ("split", (32, 8, 8), None)


def test_up_before_gate_where_the_name_says_so() -> None:
    model = table(m__gate__weight=(8, 4), m__up__weight=(8, 4))
    (one,) = found(table(m__up_gate__weight=(16, 4)), model)
    assert one.parts == ("m.up.weight", "m.gate.weight")


def test_parts_are_joined_to_the_one_that_the_model_has() -> None:
    received = table(a__wk__bias=(8,), a__wq__bias=(8,), a__wv__bias=(8,))
    (one,) = found(received, table(a__c_attn__bias=(24,)))
    assert one.data == {"op": "join", "from": ["a.wq.bias", "a.wk.bias", "a.wv.bias"], "axis": 0, "to": "a.c_attn.bias"}


def test_projections_of_torch_attention_have_no_module_of_their_own() -> None:
    model = table(a__query_proj__weight=(8, 8), a__key_proj__weight=(8, 8), a__value_proj__weight=(8, 8))
    (one,) = found(table(a__in_proj_weight=(24, 8)), model)
    assert one.parts == ("a.query_proj.weight", "a.key_proj.weight", "a.value_proj.weight")


def test_names_that_tell_nothing_leave_a_doubt() -> None:
    model = table(a__one__weight=(8, 4), a__two__weight=(8, 4))
    (one,) = found(table(a__both__weight=(16, 4)), model)
    assert one.doubt == ORDER


def test_heads_may_be_laid_out_one_by_one() -> None:
    model = table(a__q__weight=(8, 8), a__k__weight=(8, 8), a__v__weight=(8, 8))
    (one,) = found(table(a__query_key_value__weight=(24, 8)), model)
    assert one.doubt == HEADS


def test_what_does_not_add_up_is_no_whole() -> None:
    model = table(h__q__weight=(8, 16), h__k__weight=(8, 16), h__v__weight=(8, 16))
    assert not found(table(h__qkv__weight=(32, 16)), model)
    assert not found(table(h__qkv__weight=(24, 8)), model)


def test_all_layers_are_one_operation_and_no_other_layer_is_touched() -> None:
    operations = [
        {"op": "split", "from": f"h.{i}.qk.w", "axis": 0, "to": [f"h.{i}.q.w", f"h.{i}.k.w"], "sizes": [4, 2]}
        for i in range(3)
    ]
    names = [f"h.{i}.qk.w" for i in range(5)]
    (operation,) = on_parts(operations, names)
    assert operation["from"] == "h.{i:0..2}.qk.w"
    after = result([operation], dict.fromkeys(names, ("float32", (6, 2))))
    assert list(after) == [*(f"h.{i}.{part}.w" for i in range(3) for part in "qk"), "h.3.qk.w", "h.4.qk.w"]
