from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_diagnose.engine import runs
from mlx_diagnose.engine.model import Report, UsageError
from mlx_diagnose.engine.report.json import to_json

Sample = Callable[[str], Report]


def files(home: Path) -> list[Path]:
    return sorted((home / "runs").iterdir())


def test_a_run_is_saved_and_found_again(tmp_path: Path, sample: Sample) -> None:
    first = runs.save(replace(sample("fails"), run_id="aaaaaa", saved_at=None), tmp_path)
    second = runs.save(replace(sample("loads"), run_id="bbbbbb", saved_at=None), tmp_path)
    assert first.saved_at is not None
    assert first.saved_at.endswith("Z")
    assert runs.load("aaaaaa", tmp_path).verdict == "fails"
    assert runs.load("bbbbbb", tmp_path).verdict == "loads"
    assert runs.load("last", tmp_path) == runs.load("bbbbbb", tmp_path)
    assert runs.load("last", tmp_path).saved_at == second.saved_at
    assert runs.load("last", tmp_path).run_id == "bbbbbb"


def test_runs_are_for_their_owner_only(tmp_path: Path, sample: Sample) -> None:
    runs.save(sample("fails"), tmp_path)
    assert stat.S_IMODE(files(tmp_path)[0].stat().st_mode) == 0o600


def test_a_report_file_is_a_run(tmp_path: Path, sample: Sample) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(to_json(sample("fails"))))
    assert runs.load(str(path), tmp_path).run_id == "k7f3qz"


def test_only_the_newest_are_kept_and_nothing_else_is_touched(tmp_path: Path, sample: Sample) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(runs.KEPT + 5):
        (folder / f"20200101T000000.{number:06}Z-old{number}.json").write_text("{}")
    (folder / "my-own.json").write_text("{}")
    runs.save(sample("loads"), tmp_path)
    left = {path.name for path in files(tmp_path)}
    assert len(left) == runs.KEPT + 1
    assert "my-own.json" in left
    assert "20200101T000000.000005Z-old5.json" not in left
    assert "20200101T000000.000006Z-old6.json" in left
    assert any(name.endswith("-k7f3qz.json") for name in left)


@pytest.mark.parametrize("run", ["last", "zzzzzz", "./nowhere.json", "a\0b", "x" * 5000])
def test_a_run_that_is_not_there(run: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        runs.load(run, tmp_path)
    assert caught.value.reference == "no-such-run"
    assert caught.value.exit_code == 2


def test_recent_runs_are_named(tmp_path: Path, sample: Sample) -> None:
    runs.save(replace(sample("loads"), run_id="bbbbbb"), tmp_path)
    with pytest.raises(UsageError) as caught:
        runs.load("bbbbbx", tmp_path)
    assert "bbbbbb" in caught.value.next_step


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"schema_version": "9"}'])
def test_what_is_no_report_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        runs.load(str(path), tmp_path)
    assert caught.value.reference == "not-a-report"
    with pytest.raises(UsageError):
        runs.load(str(tmp_path), tmp_path)


def test_where_nothing_can_be_saved_the_report_says_so(tmp_path: Path, sample: Sample) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    report = sample("fails")
    assert runs.save(report, blocker) == replace(report, saved_at=None)


def test_nothing_half_written_is_left(tmp_path: Path, sample: Sample) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        runs.write_atomically(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_home_can_be_moved(tmp_path: Path) -> None:
    assert runs.home({runs.HOME_VARIABLE: str(tmp_path)}) == tmp_path
    assert runs.home({}).is_absolute()


def test_ids_are_short_and_differ() -> None:
    ids = {runs.new_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(len(id) == 6 and id.isalnum() for id in ids)
    assert not ids & {"last"}


def test_a_token_is_not_stored(tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "kokoro-mine")
    runs.save(sample("fails"), tmp_path)
    assert "kokoro-mine" not in files(tmp_path)[0].read_text()
    assert os.listdir(tmp_path) == ["runs"]
