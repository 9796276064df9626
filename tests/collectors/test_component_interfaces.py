"""A tokenizer with tokens that the model has no embedding for: it loads, and a warning says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from mlx_diagnose.collectors import component_interfaces
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import configuration, families, make_specimen, recipe, tables
from tests.specimens.hub import environment


def report_of(family: str, added: int | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Diagnoses a full-size specimen whose tokenizer has one more token, of the id ``added``."""
    made = make_specimen(family, folder, size="full")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    file = made.path / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    if added is not None:
        tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": added, "content": "<|laugh|>"})
    file.write_text(json.dumps(tokenizer))
    return diagnose(Options(model=str(made.path), timeout=120))


def test_a_token_beyond_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of("soprano", 8192, tmp_path, monkeypatch)
    assert report.verdict == "loads-with-warnings"
    (warning,) = [finding for finding in report.findings if finding.severity == "warning"]
    assert warning.failure_class == "component/incompatible"
    assert "tokenizer" in {subject.name for subject in warning.subjects}
    assert "8192" in warning.cause and "<|laugh|>" in warning.cause


@pytest.mark.parametrize("added", [None, pytest.param(8191, marks=pytest.mark.long)])
def test_a_table_that_holds_every_token(added: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of("soprano", added, tmp_path, monkeypatch)
    assert report.verdict == "loads" and report.findings == []


@pytest.mark.parametrize("size", ["small", "full"])
def test_no_whole_specimen_has_such_a_token(size: Literal["small", "full"], tmp_path: Path) -> None:
    for family in families():
        config, folder, memory = configuration(family, size), tmp_path / family, WorkingMemory()
        folder.mkdir()
        recipe(family).side_files(folder, config)
        table = {
            name: TensorInfo(dtype, tuple(shape))
            for file in tables.read(f"{family}.{size}").values()
            for name, (dtype, shape) in file.items()
        }
        component_interfaces.collect(memory, folder, table, config)
        assert not memory.of("component_interface"), family
