"""``diagnose reduce`` on the real loader: smallest failing config, largest passing one, a script that fails so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.specimens import make_specimen
from tests.specimens.hub import environment

pytestmark = pytest.mark.skipif(
    find_spec("mlx_audio") is None, reason="needs a patient: mlx-audio is not installed here"
)

Command = Callable[..., Any]
Make = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a VibeVoice whose config.json is changed by ``change``."""

    def make(change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
        specimen = make_specimen("vibevoice", tmp_path)
        for name, value in environment(specimen.hub).items():
            monkeypatch.setenv(name, value)
        config = json.loads((specimen.path / "config.json").read_text())
        change(config)
        (specimen.path / "config.json").write_text(json.dumps(config))
        return specimen.path

    return make


def test_a_model_that_loads_is_built_and_not_reduced(command: Command, model: Make, tmp_path: Path) -> None:
    ran = command("reduce", str(model()), "--out", str(tmp_path / "out"))
    assert ran.code == 0
    assert "nothing to reduce" in ran.out
    assert "its arrays made and evaluated" in ran.out
    assert "acoustic_tokenizer (codec, AcousticTokenizer)" in ran.out
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_part_that_cannot_be_built(command: Command, model: Make, tmp_path: Path) -> None:
    path = model(lambda config: config["diffusion_head_config"].__setitem__("hidden_size", "wide"))
    ran = command("reduce", str(path), "--json", "--out", str(tmp_path / "out"))
    assert ran.code == 1
    found = json.loads(ran.out)
    assert (found["failure"]["stage"], found["failure"]["exception"]) == ("construct", "TypeError")
    assert found["smallest"]["config"] == {"diffusion_head_config": {"hidden_size": ""}}
    assert (found["smallest"]["values"], found["smallest"]["files"]) == (1, [])
    assert found["smallest"]["values_before"] > 40
    assert found["largest"]["difference"] == [
        {"op": "replace", "path": "/diffusion_head_config/hidden_size", "value": 64}
    ]
    assert found["reproduction"]["reproduces"]
    (failed,) = [fact for fact in found["builds"] if fact["kind"] == "component_build" and fact["outcome"] == "failed"]
    assert (failed["component"], failed["section"]) == ("prediction_head", "diffusion_head_config")

    # The script stands by itself: without diagnose, in an interpreter of its own.
    script = Path(found["reproduction"]["path"])
    alone = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert alone.returncode == 1
    assert "mlx_audio/utils.py" in alone.stderr
    assert "TypeError: uniform()" in alone.stderr
    assert json.loads((tmp_path / "out" / "failing.json").read_text()) == found["smallest"]["config"]
    assert json.loads((tmp_path / "out" / "passing.json").read_text()) == found["largest"]["config"]


@pytest.mark.long
def test_weights_that_do_not_fit_are_made_again_from_their_header(command: Command, model: Make) -> None:
    path = model(lambda config: config["decoder_config"].__setitem__("vocab_size", 65))
    ran = command("reduce", str(path))
    assert ran.code == 1
    text = " ".join(ran.out.split())
    assert "load raises ValueError" in text
    assert '"vocab_size": 65' in text
    assert "It needs of the model's other files: model.safetensors." in text
    assert "this one with 1 change (it loads)" in text
    assert "replace /decoder_config/vocab_size 64" in text
    assert "run in a fresh process, it fails in the same way" in text
    source = Path(f"{path.name}-reduced", "reproduce.py").read_text()
    assert "write_tensors" in source

    # A directory with something else in it is left alone.
    Path(f"{path.name}-reduced", "mine.txt").write_text("mine")
    again = command("reduce", str(path))
    assert (again.code, again.out) == (2, "")
    assert "mine.txt" in again.err


def test_a_config_that_is_none(command: Command, model: Make, tmp_path: Path) -> None:
    path = model()
    (path / "config.json").write_text('{\n "model_type": "vibevoice",\n "a": [1, 2,\n}\n')
    ran = command("reduce", str(path), "--json", "--out", str(tmp_path / "out"))
    assert ran.code == 1
    found = json.loads(ran.out)
    assert found["failure"]["exception"] == "JSONDecodeError"
    assert found["smallest"]["config"] is None
    assert len(found["smallest"]["text"]) <= 4
    assert found["reproduction"]["reproduces"]


def test_a_model_that_is_not_here(command: Command, tmp_path: Path) -> None:
    ran = command("reduce", "nobody/nothing", "--out", str(tmp_path / "out"))
    assert (ran.code, ran.out) == (3, "")
    assert "not on this machine" in " ".join(ran.err.split())
