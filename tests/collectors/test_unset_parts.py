"""Files that a load does without and a model that speaks does not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from mlx_diagnose.collectors import unset_parts
from mlx_diagnose.collectors.companions import Companion
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import make_specimen
from tests.specimens.hub import environment

_MODEL = """
class Model:
    def __init__(self):
        self.voices = {}

    @classmethod
    def post_load_hook(cls, model, model_path):
        path = model_path / "voices.npz"
        if path.exists():
            model.voices = load(path)
        return model

    def generate(self, text):
        if not self.voices:
            raise RuntimeError("no voices")
"""


def unset(folder: Path, source: str) -> list[tuple[object, object]]:
    file = folder / "model.py"
    file.write_text(textwrap.dedent(source))
    line = next(n for n, text in enumerate(source.splitlines(), 1) if "path.exists()" in text)
    wish = Companion("file", "voices.npz", "post_load", str(file), line, "", 0, "", tested=True, swallowed=False)
    memory = WorkingMemory()
    unset_parts.collect(memory, [wish], folder)
    return [(fact["name"], fact["part"]) for fact in memory.of("unset_part")]


def test_a_part_that_only_the_file_fills_and_that_is_needed(tmp_path: Path) -> None:
    assert unset(tmp_path, _MODEL) == [("voices.npz", "voices")]
    filled = _MODEL.replace("model.voices = load(path)", "model._read(path)")
    assert unset(tmp_path, filled + "\n    def _read(self, path):\n        self.voices = load(path)\n") == [
        ("voices.npz", "voices")
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        return model\n", "        else:\n            pass\n        return model\n"),
        ("        return model\n", "        model.voices = fetched()\n        return model\n"),
        ("raise RuntimeError", "print"),
        ("self.voices = {}", "self.voices = {'a': 1}"),
    ],
)
def test_what_has_another_source_or_is_not_needed_is_left_alone(tmp_path: Path, old: str, new: str) -> None:
    assert old in _MODEL
    assert unset(tmp_path, _MODEL.replace(old, new)) == []


def test_a_file_that_is_there_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "voices.npz").touch()
    assert unset(tmp_path, _MODEL) == []


@pytest.mark.parametrize(
    ("family", "file"), [("kitten_tts", "voices.npz"), ("echo_tts", "pca_state.safetensors"), ("kitten_tts", None)]
)
def test_a_real_model_that_loads(
    family: str, file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "home"))
    made = make_specimen(family, tmp_path / "model", size="small")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    if file is not None:
        (made.path / file).unlink()
    report = diagnose(Options(model=str(made.path), timeout=120))
    assert report.verdict.startswith("loads")
    told = [finding for finding in report.findings if finding.rule == "component-file-needed-in-use"]
    assert [subject.name for finding in told for subject in finding.subjects] == ([file] if file else [])
    assert all(finding.severity == "warning" for finding in told)
