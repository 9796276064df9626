from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_diagnose.engine import bundle_files
from mlx_diagnose.engine.model import UsageError
from tests.engine.cli.conftest import Ran
from tests.specimens import make_specimen
from tests.specimens.hub import environment

Command = Callable[..., Ran]
TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz12345678"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose config contradicts its checkpoint, and holds somebody's token."""
    made = make_specimen("soprano", tmp_path, hub=tmp_path / "huggingface")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    config = json.loads((made.path / "config.json").read_text())
    config["hidden_size"] *= 2
    config["note"] = f"made with {TOKEN}"
    (made.path / "config.json").write_text(json.dumps(config, indent=1))
    return made.path


@pytest.fixture
def saved(command: Command, model: Path, tmp_path: Path) -> Path:
    """The bundle of the model, looked at without a load."""
    ran = command("bundle", "save", str(model), "--only-static", "-o", str(tmp_path / "b.zip"))
    assert ran.out.strip() == str(tmp_path / "b.zip")
    return tmp_path / "b.zip"


def test_a_bundle_holds_no_weights_no_token_and_no_path_of_the_machine(
    saved: Path, model: Path, tmp_path: Path
) -> None:
    assert saved.stat().st_size < 200_000 < (model / "model.safetensors").stat().st_size
    with zipfile.ZipFile(saved) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert {"bundle.json", "report.json", "model/config.json", "model/model.safetensors"} <= set(content)
    header = content["model/model.safetensors"]
    assert len(header) == 8 + int.from_bytes(header[:8], "little")
    assert not [name for name, data in content.items() if TOKEN.encode() in data]
    report = json.loads(content["report.json"])
    assert str(tmp_path) not in json.dumps({**report, "run": None})
    assert report["target"]["path"] == "MODEL"
    assert os.listdir(saved.parent).count(".b.zip.part") == 0


@pytest.mark.long
def test_the_whole_of_it_loads_and_its_report_can_be_shown_elsewhere(
    command: Command, model: Path, tmp_path: Path
) -> None:
    ran = command("bundle", "save", str(model))
    assert ran.code == 1
    path = Path(ran.out.strip())
    assert path.name == f"{model.name}.diagnose.zip"
    shown = command("bundle", "open", str(path))
    assert shown.code == 1
    assert "config/value-mismatch" in shown.out
    assert "verified" in shown.out
    assert json.loads(command("bundle", "open", str(path), "--json").out)["verdict"] == "fails"


def test_a_bundle_is_a_model_that_is_diagnosed_from_headers(command: Command, saved: Path, model: Path) -> None:
    ran = command(str(saved), "--json")
    report = json.loads(ran.out)
    assert report["target"]["source"] == "bundle"
    assert report["target"]["path"] is None
    (weights,) = [fact for fact in report["facts"] if fact["kind"] == "weights_file"]
    assert (weights["state"], weights["size"]) == ("ok", (model / "model.safetensors").stat().st_size)
    assert {stage["status"] for stage in report["stages"]} == {"skipped"}
    original = json.loads(command(str(model), "--only-static", "--json").out)
    assert [found["rule"] for found in report["findings"]] == [found["rule"] for found in original["findings"]]


def test_what_sets_two_bundles_apart(command: Command, saved: Path, model: Path, tmp_path: Path) -> None:
    assert command("bundle", "diff", str(saved), str(saved)).out == "no difference\n"
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "hidden_size": 7, "new": {"key": True}}, indent=1))
    (model / "tokenizer.json").unlink()
    command("bundle", "save", str(model), "--only-static", "-o", str(tmp_path / "c.zip"))
    ran = command("bundle", "diff", str(saved), str(tmp_path / "c.zip"))
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert f"config hidden_size: {config['hidden_size']} -> 7" in lines
    assert "config new.key: absent -> true" in lines
    assert [line for line in lines if line.startswith("file tokenizer.json:") and line.endswith("-> absent")]


def test_what_is_no_bundle_is_told(command: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    for name in ("text", "other.zip", "nowhere"):
        ran = command("bundle", "open", str(tmp_path / name))
        assert ran.code == 2
        assert "no bundle" in ran.err
    assert command(str(tmp_path / "other.zip")).code == 2


def test_a_strangers_bundle_stays_inside(saved: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(evil, "w") as target:
        manifest = json.loads(source.read("bundle.json"))
        names = ["../out.json", "/tmp/out.json", "a/../../out.json", "con", "x\\..\\y", "ok.json"]
        manifest["files"] = [{"name": name, "size": 5} for name in names] + [{"name": "huge.bin", "size": 1 << 60}]
        manifest["name"] = "../../outside"
        target.writestr("bundle.json", json.dumps(manifest))
        target.writestr("report.json", source.read("report.json"))
        for name in names:
            target.writestr(f"model/{name}", "12345")
    (tmp_path / "in").mkdir()
    directory = bundle_files.unpack(str(evil), tmp_path / "in")
    assert directory == tmp_path / "in" / "model"
    assert [file.name for file in tmp_path.joinpath("in").rglob("*") if file.is_file()] == ["ok.json"]
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(evil, "w") as target:
        target.writestr("bundle.json", "{}")
        target.writestr("report.json", source.read("report.json"))
    with pytest.raises(UsageError):
        bundle_files.read(str(evil))
