"""Tensors of the checkpoint that sanitize looked for among the parameters of the model."""

from __future__ import annotations

import pytest

from mlx_diagnose.collectors import unplaced_tensors
from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.engine.memory import WorkingMemory

STORED = {name: TensorInfo("float32", (4,)) for name in ("vocoder.pre.weight", "vocoder.pre.bias", "weight")}


def told(type: str, key: str) -> list[tuple[object, object]]:
    memory = WorkingMemory()
    raised = ExceptionDoc("sanitize", "raised", type, message=repr(key), frames=(Frame("model.py", 3),))
    unplaced_tensors.collect(memory, STORED, raised)
    return [(fact["name"], fact["beside"]) for fact in memory.of("unplaced_tensor")]


@pytest.mark.parametrize("key", ["vocoder.pre.weight", "pre.weight", "model.vocoder.pre.weight"])
def test_a_key_that_is_a_stored_name_but_for_a_prefix(key: str) -> None:
    assert told("KeyError", key) == [("vocoder.pre.weight", 1)]


@pytest.mark.parametrize(
    ("type", "key"), [("KeyError", "pre.gain"), ("KeyError", "weight"), ("ValueError", "pre.weight")]
)
def test_what_is_not_stored_or_no_name_of_a_tensor_tells_nothing(type: str, key: str) -> None:
    assert told(type, key) == []
