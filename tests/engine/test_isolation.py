"""Isolated environments: the plan, what is left behind by a failure, and one that is really made, of small wheels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.collectors.target import locate
from mlx_diagnose.engine.cli import main
from mlx_diagnose.engine.isolation import IsolationError, Request, known_limits, lend, make, missing_for, plan
from mlx_diagnose.engine.model import UsageError
from tests.wheels import make_wheel


def _request(folder: Path, **fields: object) -> Request:
    return Request(folder=folder, base=sys.executable, **fields)  # type: ignore[arg-type]


def test_a_plan_pins_the_release_and_what_is_known_not_to_work_with_it(tmp_path: Path) -> None:
    made = plan(_request(tmp_path / "new", release="0.2.3", extras=("tts",), more=("numpy<2",)))
    assert made.requirements[:2] == ("mlx-audio[tts]==0.2.3", "numpy<2")
    assert "mlx-lm<0.25" in made.requirements
    assert ("mlx[cpu]" in made.requirements) == (sys.platform == "linux")
    assert made.environment["HF_HOME"] == str(tmp_path / "new" / "huggingface")
    assert "HF_HUB_OFFLINE" not in made.environment and not (tmp_path / "new").exists()
    assert known_limits("0.6.2") == [limit for limit in known_limits("0.6.2") if "mlx-lm" not in limit]
    assert plan(_request(tmp_path / "new", offline=True)).environment["HF_HUB_OFFLINE"] == "1"
    assert plan(_request(tmp_path / "new", lock=tmp_path / "x.lock")).requirements == ()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    for make_it in (plan, make):
        with pytest.raises(UsageError, match="is there already"):
            make_it(_request(tmp_path / "used"))
    assert [entry.name for entry in (tmp_path / "used").iterdir()] == ["mine"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no venv here' >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(IsolationError) as failed:
        make(Request(folder=tmp_path / "new", base=str(broken)))
    assert failed.value.why == "no venv here" and failed.value.exit_code == 3
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(IsolationError):
        make(Request(folder=tmp_path / "empty", base=str(tmp_path / "nosuch")))
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "x y"
    assert main(["isolate", "--release", "0.6.2", "--dir", str(folder), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "mlx-audio==0.6.2" in shown and f"diagnose MODEL --python '{folder}/env'" in shown
    assert main(["isolate", "--dir", str(folder), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["python"] == str(folder / "env" / "bin" / "python")
    assert main(["isolate", "--release", "1", "--lock", __file__, "--dry-run"]) == 2


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    family = "import undeclared\nclass Model: ...\n"
    make_wheel(
        folder,
        "mlx_audio",
        "0.6.2",
        {
            "mlx_audio/__init__.py": "",
            "mlx_audio/tts/__init__.py": "",
            "mlx_audio/tts/utils.py": "",
            "mlx_audio/tts/models/fam/__init__.py": family,
        },
    )
    make_wheel(folder, "mlx", "0.32.4", {"mlx/__init__.py": ""}, "Provides-Extra: cpu")
    make_wheel(folder, "undeclared", "1.0", {"undeclared.py": ""})
    return folder


@pytest.mark.long
def test_an_environment_is_made_with_what_the_model_wants_besides(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PYTHONPATH", "/nosuch")
    model = tmp_path / "fam-model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "fam"}')
    located = locate(str(model))
    made = make(_request(tmp_path / "new", release="0.6.2", located=located, offline=True))
    assert made.added == ("undeclared",) and made.packages["mlx-audio"] == "0.6.2"
    assert missing_for(located, str(made.python)) == []
    lock = made.folder / "requirements.lock"
    assert "mlx-audio==0.6.2\n" in lock.read_text() and "pip==" not in lock.read_text()
    program = f". {made.folder}/env.sh; python -c 'import os, undeclared; print(os.environ[\"HF_HOME\"])'"
    said = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(made.folder / "huggingface") and (made.folder / "huggingface" / "hub").is_dir()
    again = make(_request(tmp_path / "again", lock=lock, offline=True))
    assert {**again.packages, "undeclared": "1.0"} == {**made.packages, "undeclared": "1.0"}


def test_what_a_repository_in_the_cache_lends_is_linked(tmp_path: Path) -> None:
    theirs = tmp_path / "cache" / "models--org--name"
    (theirs / "blobs").mkdir(parents=True)
    (theirs / "blobs" / "abc").write_text("{}")
    (theirs / "snapshots" / "rev" / "sub").mkdir(parents=True)
    (theirs / "snapshots" / "rev" / "config.json").symlink_to("../../blobs/abc")
    (theirs / "snapshots" / "rev" / "sub" / "a.txt").write_text("a")
    (theirs / "refs").mkdir()
    (theirs / "refs" / "main").write_text("rev")
    lend("org/name", tmp_path / "cache", tmp_path / "hub")
    ours = tmp_path / "hub" / "models--org--name"
    assert (ours / "snapshots" / "rev" / "config.json").read_text() == "{}"
    assert (ours / "snapshots" / "rev" / "sub" / "a.txt").is_symlink() and not (ours / "blobs").exists()
    (ours / "refs" / "main").write_text("other")
    assert (theirs / "refs" / "main").read_text() == "rev"
    lend("org/absent", tmp_path / "cache", tmp_path / "hub")
