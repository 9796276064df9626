"""A chain of tests on texts of the config that ends in raise says what the key may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import unmatched_choice
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.specimen import write_safetensors

SOURCE = """
def build(config, other):
    if config.get("target") == "a" and config.get("defaults", {}).get("durations") is not None:
        return 1
    elif config["target"] in ("b", "c") or config.get("sub", {}).get("kind") == "x":
        return 2
    elif other.get("name") == "y" or config.get("n") == 3:
        return 3
    else:
        raise ValueError("no such model")
    if config.get("target") == "later":
        raise ValueError("not of the chain")
"""


@pytest.mark.parametrize(
    ("config", "line", "told"),
    [
        ({}, 10, [("target", False, None, ["a", "b", "c"]), ("sub.kind", False, None, ["x"])]),
        (
            {"target": "d", "sub": {"kind": "z"}},
            10,
            [("target", True, "d", ["a", "b", "c"]), ("sub.kind", True, "z", ["x"])],
        ),
        ({"target": "a", "sub": {"kind": "x"}}, 10, []),
        ({}, 12, []),
        ({}, 4, []),
    ],
)
def test_the_texts_that_a_key_is_compared_with(
    config: dict[str, Any], line: int, told: list[object], tmp_path: Path
) -> None:
    (tmp_path / "family.py").write_text(SOURCE, encoding="utf-8")
    memory = WorkingMemory()
    unmatched_choice.collect(memory, config, str(tmp_path / "family.py"), line)
    assert [
        (fact["path"], fact["given"], fact["value"], json.loads(str(fact["choices"])))
        for fact in memory.of("unmatched_choice")
    ] == told


def test_a_source_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    memory = WorkingMemory()
    (tmp_path / "broken.py").write_text("if:", encoding="utf-8")
    for name in ("broken.py", "absent.py"):
        unmatched_choice.collect(memory, {}, str(tmp_path / name), 1)
    assert not memory.of("unmatched_choice")


def test_the_key_that_chooses_is_named_and_not_what_is_looked_at_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "parakeet-tdt"
    path.mkdir()
    config = {"model_type": "parakeet", "model_defaults": {"tdt_durations": [0, 1]}}
    (path / "config.json").write_text(json.dumps(config))
    write_safetensors(path / "model.safetensors", {"encoder.weight": ("F32", (2, 2))}, metadata={}, body="hole")
    report = diagnose(Options(model=str(path), timeout=120))
    told = {finding.rule: {subject.name for subject in finding.subjects} for finding in report.findings}
    assert told["config-choice-unmatched"] == {"target"}
    assert not any("model_defaults.tdt_durations" in subjects for subjects in told.values())
