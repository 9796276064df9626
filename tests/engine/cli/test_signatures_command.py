from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.collectors.releases import NEW, OLD, write_release

Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examined interpreter imports the new one of two small releases; the old one lies beside it."""
    write_release(tmp_path / "old", OLD)
    write_release(tmp_path / "new", NEW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "new"))


def test_all_families_and_one_in_full(command: Command) -> None:
    ran = command("signatures")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["tts/chant", "stt/fresh"]
    full = command("signatures", "chant").out
    assert "hidden_size: int\n" in full and "num_heads: int = 16" in full and "unknown keys rejected" in full


def test_json_and_files(command: Command, tmp_path: Path) -> None:
    document = json.loads(command("signatures", "tts/chant", "--json").out)
    assert document["mlx_audio"] == "0.9.0"
    assert [(d["category"], d["family"]) for d in document["families"]] == [("tts", "chant")]
    ran = command("signatures", "-o", str(tmp_path / "written"))
    assert (ran.code, ran.out) == (0, "")
    written = json.loads((tmp_path / "written" / "tts" / "chant.json").read_text())
    assert written == document["families"][0]
    assert (tmp_path / "written" / "stt" / "fresh.json").exists()


def test_differences_to_a_folder_and_to_written_files(command: Command, tmp_path: Path) -> None:
    ran = command("signatures", "--diff", str(tmp_path / "old"), "chant")
    assert ran.code == 0
    assert ran.out.startswith("mlx-audio 0.0.4 -> 0.9.0: ")
    assert "! required-added ModelConfig.width: int\n" in ran.out
    assert "! default-changed ModelConfig.num_heads: 8 -> 16\n" in ran.out
    as_json = json.loads(command("signatures", "--diff", str(tmp_path / "old"), "--json").out)
    assert {c["what"] for c in as_json["changes"]} >= {"family-added", "family-removed", "required-added"}
    command("signatures", "-o", str(tmp_path / "written"))
    same = command("signatures", "--diff", str(tmp_path / "written"))
    assert same.out == "mlx-audio 0.9.0 -> 0.9.0: 0 changes, 0 of them may break a config (marked !)\n"


@pytest.mark.parametrize(
    ("words", "reference"),
    [
        (["no-such-family"], "no-such-family"),
        (["--python", "/nowhere/python"], "python-not-found"),
        (["--diff", "/nowhere"], "python-not-found"),
        (["--diff", "{empty}"], "nothing-to-compare"),
        (["-o", "{file}/below"], "cannot-write"),
    ],
)
def test_wrong_usage(words: list[str], reference: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    ran = command("signatures", *(word.format(empty=tmp_path / "empty", file=tmp_path / "file") for word in words))
    assert ran.code == 2
    assert reference in ran.err


def test_an_interpreter_without_mlx_audio(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH")
    (tmp_path / "bin").mkdir()
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    import sys

    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    ran = command("signatures", "--python", str(tmp_path))
    assert (ran.code, "no-mlx-audio" in ran.err) == (2, True)
