"""What a probe's trace says, as facts."""

from __future__ import annotations

from pathlib import Path

from mlx_diagnose.collectors.trace import collect
from mlx_diagnose.engine.memory import WorkingMemory


def test_files_that_were_looked_for_in_vain(tmp_path: Path) -> None:
    memory = WorkingMemory()
    lookup = {"path": str(tmp_path / "tokenizer.json"), "stage": "construct", "file": "x.py", "line": 3}
    other = {**lookup, "path": "/elsewhere/tokenizer.json"}
    trace = {"calls": [], "omitted": 0, "lookups": [lookup, other]}
    collect(memory, trace, caught=[], chain=[], directory=tmp_path, requested=False)
    found = memory.of("file_wanted")
    assert [(f["name"], f["in_model"], f["raised"], f["elsewhere"]) for f in found] == [
        ("tokenizer.json", True, False, False)
    ]


def test_the_type_of_a_part_is_told_where_nothing_else_was_read(tmp_path: Path) -> None:
    def told(*paths: str) -> list[str]:
        value = {"value": "x", "type": "str", "origin": "config", "certain": True, "expression": "args.kind"}
        place = {"function": "Model.__init__", "file": "x.py", "line": 3}
        reached = [{"path": path, **value, **place} for path in paths]
        memory = WorkingMemory()
        trace = {"calls": [], "omitted": 0, "lookups": [], "reached": reached}
        raised = {"stage": "construct", "type": "AssertionError", "frames": [{"file": "x.py", "line": 3}]}
        collect(memory, trace, caught=[], chain=[raised], directory=tmp_path, requested=False)
        return [str(fact["path"]) for fact in memory.of("reached_value")]

    assert told("decoding.model_type", "model_type") == ["decoding.model_type"]
    assert told("decoding.model_type", "decoding.size") == ["decoding.size"]
