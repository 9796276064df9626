"""``--fix``, ``--out`` and ``--diff`` on the command line: what they print, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.specimens import make_specimen

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Ran


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A small Dia, its config changed."""

    def make(change: Callable[[dict[str, Any]], object]) -> Path:
        specimen = make_specimen("dia", tmp_path / "models")
        for name, value in specimen.environment.items():
            monkeypatch.setenv(name, value)
        config = json.loads((specimen.path / "config.json").read_text())
        change(config)
        (specimen.path / "config.json").write_text(json.dumps(config))
        return specimen.path

    return make


@pytest.mark.long
def test_a_fix_is_written_and_shown(command: Callable[..., Ran], model: Callable[..., Path], tmp_path: Path) -> None:
    path = model(lambda config: config["model"].__setitem__("src_vocab_size", 2 * config["model"]["src_vocab_size"]))
    shown = command(str(path), "--diff")
    assert shown.code == 1
    assert "--- a/config.json" in shown.out and "def mend_config(config):" in shown.out
    out = tmp_path / "out" / path.name
    written = command(str(path), "--fix", "--out", str(out))
    assert written.code == 0, written.out + written.err
    assert "loaded once more" in " ".join(written.out.split()) and (out / "diagnose" / "undo.json").exists()
    again = command(str(path), "--fix", "--out", str(out))
    assert (again.code, "target-exists" in again.err) == (2, True)


def test_no_fix_that_is_verified(command: Callable[..., Ran], model: Callable[..., Path], tmp_path: Path) -> None:
    path = model(lambda config: None)
    (path / "model.safetensors").unlink()
    ran = command(str(path), "--fix", "--json")
    assert ran.code == 5
    assert json.loads(ran.out)["written"]["path"] is None
    assert command(str(path)).code == 1


def test_nothing_to_fix(command: Callable[..., Ran], model: Callable[..., Path]) -> None:
    ran = command(str(model(lambda config: None)), "--fix")
    assert (ran.code, "Nothing written: the model loads" in ran.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x"], "--out says where --fix writes"),
        (["--fix", "--only-static"], "--only-static runs nothing"),
        (["--fix", "--out", "."], "exists already"),
    ],
)
def test_what_does_not_go_together(command: Callable[..., Ran], tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "here" / "file").write_text("")
    (tmp_path / "m").mkdir()
    ran = command(str(tmp_path / "m"), *words)
    assert (ran.code, said in " ".join(ran.err.split())) == (2, True), ran.err
