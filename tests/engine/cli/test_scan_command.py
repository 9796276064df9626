from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.cli.conftest import Ran
from tests.specimens import make_specimen
from tests.specimens.hub import environment

Command = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole model and one with an empty config."""
    made = make_specimen("soprano", tmp_path / "models", hub=tmp_path / "huggingface")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "models" / "empty").mkdir()
    (tmp_path / "models" / "empty" / "config.json").write_text("")
    return tmp_path / "models"


def test_one_line_a_model_and_the_worst_exit_code(command: Command, folder: Path) -> None:
    ran = command("scan", str(folder))
    first, second, total = ran.out.splitlines()
    assert "Soprano-80M-bf16  loads (tts, soprano)" in first
    assert "empty  fails" in second
    assert "config/unreadable" in second
    assert (total, ran.code) == ("2 models: 1 loads, 1 fails", 1)
    assert "f1" in command("why", "last", "f1").out  # each is a run of its own


def test_json_with_every_cause_and_fix(command: Command, folder: Path, tmp_path: Path) -> None:
    ran = command("scan", str(folder / "empty"), str(tmp_path), "--json", "--only-static", "--exit-zero")
    document = json.loads(ran.out)
    assert document["exit_code"] == ran.code == 0
    verdicts = {Path(entry["model"]).name: entry["verdict"] for entry in document["models"]}
    assert verdicts == {"empty": "fails", "Soprano-80M-bf16": "inconclusive"}
    (entry,) = [entry for entry in document["models"] if entry["verdict"] == "fails"]
    assert entry["causes"][0]["failure_class"] == "config/unreadable"
    assert entry["run"]


def test_a_model_that_cannot_be_one_is_refused_before_anything_runs(command: Command, folder: Path) -> None:
    ran = command("scan", str(folder), "./nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "./nowhere" in ran.err


def test_an_empty_cache_is_told(command: Command, folder: Path) -> None:
    ran = command("scan")
    assert ran.code == 2
    assert "There is no model" in ran.err
