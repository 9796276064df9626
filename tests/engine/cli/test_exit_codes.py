from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mlx_diagnose.engine.cli._reporting import Reporting, exit_code
from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.report.json import schema

Sample = Callable[[str], Report]


@pytest.mark.parametrize(
    ("name", "fail_on", "exit_zero", "code"),
    [
        ("loads", "error", False, 0),
        ("loads", "warning", False, 0),
        ("warnings", "error", False, 0),
        ("warnings", "warning", False, 1),
        ("warnings", "warning", True, 0),
        ("fails", "error", False, 1),
        ("fails", "error", True, 0),
        ("inconclusive", "error", False, 3),
        ("inconclusive", "warning", False, 3),
        ("inconclusive", "error", True, 0),
        ("static", "error", False, 3),
        ("static", "error", True, 0),
    ],
)
def test_exit_code(name: str, fail_on: Any, exit_zero: bool, code: int, sample: Sample) -> None:
    assert exit_code(sample(name), fail_on, exit_zero) == code


def test_a_hub_that_did_not_answer_was_diagnosed_though_the_model_was_not(sample: Sample) -> None:
    cut_off = replace(sample("fails").findings[0], failure_class="hub/unavailable", root=True)
    report = replace(sample("inconclusive"), findings=(cut_off,))
    assert exit_code(report, "error", False) == 1
    assert exit_code(report, "error", True) == 0


def test_a_note_is_no_warning(sample: Sample) -> None:
    note = replace(sample("warnings").findings[0], severity="info")
    assert exit_code(replace(sample("loads"), findings=(note,)), "warning", False) == 0


def test_delivery_saves_writes_and_returns_the_code(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "home"))
    report = replace(sample("fails"), saved_at=None)
    assert Reporting("json", None, "error", False, False, "auto").deliver(report) == 1
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(schema()).validate(document)
    assert document["run"]["saved_at"] is not None
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1

    path = tmp_path / "report.txt"
    assert Reporting("text", str(path), "error", True, False, "auto").deliver(report) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"diagnose: fails; the report is in {path}\n")
    assert path.read_text().startswith("✗ ./kokoro-mine does not load")
    Reporting("text", str(path), "error", True, False, "always").deliver(report)
    assert path.read_text().startswith("\x1b[")


def test_where_runs_cannot_be_saved_the_report_comes_all_the_same(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "file"))
    assert Reporting("json", None, "error", False, False, "auto").deliver(sample("fails")) == 1
    assert json.loads(capsys.readouterr().out)["run"]["saved_at"] is None
