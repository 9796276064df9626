"""What sanitize wanted in vain, told from what it raised and the names in the checkpoint."""

from __future__ import annotations

import pytest

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.series_gaps import Gap, wanted_in_vain
from mlx_diagnose.collectors.tensors import TensorInfo

_EXPERTS = [f"model.layers.{layer}.mlp.experts.{n}.{part}.weight" for layer in "12" for n in "0123" for part in "ab"]
_LACKING = "model.layers.1.mlp.experts.2.a.weight"
_SIBLINGS = tuple(f"model.layers.1.mlp.experts.{n}.a.weight" for n in (0, 1, 3))


def table(*others: str, without: str | None = None) -> dict[str, TensorInfo]:
    names = [*_EXPERTS, "model.embed.weight", *others]
    return {name: TensorInfo("float32", (8, 4)) for name in names if name != without}


def raised(type: str, message: str) -> ExceptionDoc:
    return ExceptionDoc("sanitize", "raised", type, message=message)


def key_error(key: str) -> ExceptionDoc:
    return raised("KeyError", repr(key))


@pytest.mark.parametrize("key", [_LACKING, _LACKING.removeprefix("model."), f"model.{_LACKING}"])
def test_the_name_is_that_of_the_checkpoint_whatever_prefix_sanitize_took_or_gave(key: str) -> None:
    assert wanted_in_vain(table(without=_LACKING), key_error(key)) == [Gap(_LACKING, _SIBLINGS)]


def test_a_text_names_the_module_in_parts() -> None:
    said = raised("ValueError", "Incomplete routed experts for model.layers.1.mlp.a, cannot stack")
    assert wanted_in_vain(table(without=_LACKING), said) == [Gap(_LACKING, _SIBLINGS)]


def test_a_text_about_another_layer_or_about_nothing_tells_nothing() -> None:
    for said in ("Incomplete experts for model.layers.2.mlp.a", "bad weights", "model.embed is bad"):
        assert wanted_in_vain(table(without=_LACKING), raised("ValueError", said)) == []


@pytest.mark.parametrize(
    ("other", "stands"),
    [
        (_LACKING.replace(".", "_"), True),
        (_LACKING + "s", True),
        ("model.layers.1.mlp.experts.2.a.weigth", True),
        ("head.projection.weight", False),
    ],
)
def test_a_tensor_that_has_nearly_the_name_stands_for_it(other: str, stands: bool) -> None:
    (gap,) = wanted_in_vain(table(other, without=_LACKING), key_error(_LACKING))
    assert gap.stands_as == (other if stands else None)


def test_of_two_that_are_as_near_neither_stands_for_it() -> None:
    (gap,) = wanted_in_vain(table(_LACKING + "x", _LACKING + "y", without=_LACKING), key_error(_LACKING))
    assert gap.stands_as is None


def test_another_shape_does_not_stand_for_it() -> None:
    stored = {**table(without=_LACKING), _LACKING.replace(".", "_"): TensorInfo("float32", (4, 8))}
    (gap,) = wanted_in_vain(stored, key_error(_LACKING))
    assert gap.stands_as is None


def test_one_after_the_last_is_beyond_its_series() -> None:
    key = "layers.1.mlp.experts.4.a.weight"
    (gap,) = wanted_in_vain(table(), key_error(key))
    assert (gap.name, len(gap.siblings), gap.beyond) == (key, 4, "experts")


def test_a_tensor_by_itself_has_no_siblings() -> None:
    assert wanted_in_vain(table(), key_error("model.norm.weight")) == [Gap("model.norm.weight", ())]
    (gap,) = wanted_in_vain(table("model.nrm.weight"), key_error("model.norm.weight"))
    assert gap.stands_as == "model.nrm.weight"


@pytest.mark.parametrize("key", ["hidden_size", "model.embed.weight", "embed.weight", _LACKING])
def test_keys_of_a_config_and_names_that_are_there_are_no_gaps(key: str) -> None:
    assert wanted_in_vain(table(), key_error(key)) == []
