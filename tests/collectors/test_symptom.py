"""Failures that are the same look the same, wherever the copy lies; others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Ending
from mlx_diagnose.collectors.symptom import Symptom, normalised, symptom_of

MODEL = Path("/models/Voice-1B")


def failed(message: str, **more: Any) -> LoadRun:
    frame = {"file": "model.py", "line": 7}
    chain = [{"type": "ValueError", "message": message, "frames": [frame]}]
    outcome = {"m": "outcome", "loads": False, "stage": "construct"}
    return LoadRun().take([{"m": "exceptions", "chain": chain, "text": ""}, {**outcome, **more}])


def test_paths_and_addresses_do_not_count() -> None:
    one = normalised("no file in /models/Voice-1B/x, object at 0x7f00aa", MODEL)
    other = normalised("no file in /tmp/diagnose-trial-x/3/Voice-1B/x,  object\n at 0x12", MODEL)
    assert one == other == "no file in <model>/x, object at 0x"
    assert normalised("/models/Voice-1Big", MODEL) == "/models/Voice-1Big"


def test_numbers_count_unless_asked() -> None:
    one, other = (symptom_of(failed(f"96 is not divisible by {heads}"), MODEL) for heads in (7, 5))
    assert one is not None and other is not None
    assert one != other
    assert one.loosely() == other.loosely()


def test_the_same_words_at_another_stage_are_another_failure() -> None:
    assert symptom_of(failed("x"), MODEL) != symptom_of(failed("x", stage="load"), MODEL)


def test_tensors_that_do_not_fit_are_part_of_it() -> None:
    def run(axis: int) -> LoadRun:
        made = failed("x", stage="load")
        made.tensors = {"model": {"w": ["float32", [2]]}, "sanitized": {"w": ["float32", [axis]]}}
        return made

    assert symptom_of(run(3), MODEL) == symptom_of(run(3), MODEL) != symptom_of(run(4), MODEL)


def test_a_load_that_passes_has_none() -> None:
    assert symptom_of(LoadRun().take([{"m": "outcome", "loads": True, "stage": None}]), MODEL) is None


def test_a_process_that_ended() -> None:
    run = LoadRun().take([{"m": "hello"}, {"m": "loader"}, {"m": "stage", "name": "construct", "status": "running"}])
    ending = Ending("crashed", signal="SIGSEGV", file="x.py", line=3)
    assert symptom_of(run, MODEL, ending) == Symptom("construct", "SIGSEGV", "crashed", ("x.py", 3), ended=True)


def test_what_was_caught_on_the_way_tells_failures_apart() -> None:
    def run(key: str) -> LoadRun:
        made = failed("'NoneType' object has no attribute 'model'")
        made.caught = [{"type": "KeyError", "message": key, "frames": []}]
        return made

    assert symptom_of(run("'n_layer'"), MODEL) == symptom_of(run("'n_layer'"), MODEL)
    assert symptom_of(run("'n_layer'"), MODEL) != symptom_of(run("'model'"), MODEL)
