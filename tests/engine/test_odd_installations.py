"""Installations of mlx-audio whose sources cannot be read, or misbehave: facts and reasons, never a crash.

The release is the installed one, except for the family, which is copied and changed.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import make_specimen
from tests.specimens.hub import environment

Change = Callable[[Path], object]


def _appended(text: str) -> Change:
    def change(folder: Path) -> None:
        file = folder / "__init__.py"
        file.write_text(file.read_text() + text)

    return change


def _replaced(content: bytes) -> Change:
    return lambda folder: (folder / "soprano.py").write_bytes(content)


def _compiled(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "compileall", "-b", "-q", str(folder)], check=True)
    for file in folder.rglob("*.py"):
        file.unlink()


_RAISING = """
def __getattr__(name):
    raise RuntimeError("lazy " + name)
class Raising(type):
    def __getattribute__(cls, name):
        raise RuntimeError(name)
    def __instancecheck__(cls, other):
        raise RuntimeError("no instance")
class OddConfig(metaclass=Raising):
    pass
"""


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    installed = Path(found.submodule_search_locations[0])

    def run(change: Change, *, lacking: str | None = None, static: bool = True) -> Report:
        folder = tmp_path / "release" / "mlx_audio"
        _linked(installed, folder, ["tts", "models", "soprano"])
        change(folder / "tts" / "models" / "soprano")
        specimen = make_specimen("soprano", tmp_path)
        for name, value in environment(specimen.hub).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "release"))
        if lacking is not None:
            config = dict(specimen.config)
            del config[lacking]
            (specimen.path / "config.json").write_text(json.dumps(config))
        report = diagnose(Options(model=str(specimen.path), category="tts", only_static=static, timeout=120))
        assert [outcome for outcome in report.collectors if outcome.status == "failed"] == []
        return report

    return run


def _linked(source: Path, target: Path, path: list[str]) -> None:
    """``target`` with links to everything in ``source``; what ``path`` leads to is copied."""
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if path and entry.name == path[0]:
            if path[1:]:
                _linked(entry, target / entry.name, path[1:])
            else:
                shutil.copytree(entry, target / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif entry.name != "__pycache__":
            (target / entry.name).symlink_to(entry)


def _unreadable(report: Report) -> list[tuple[object, str]]:
    return [(f["reason"], Path(str(f["file"])).name) for f in report.facts if f.kind == "source_unreadable"]


@pytest.mark.parametrize(
    ("change", "reason", "file"),
    [
        (_replaced(b"def f(:\n"), "syntax-error", "soprano.py"),
        (_replaced(b"x = '\xff'\n"), "syntax-error", "soprano.py"),
        (_replaced(b"# -*- coding: no-such-code -*-\n"), "syntax-error", "soprano.py"),
        (_compiled, "compiled-only", "__init__.pyc"),
    ],
)
def test_a_source_that_cannot_be_read_is_a_fact_with_its_reason(
    change: Change, reason: str, file: str, examine: Callable[..., Report]
) -> None:
    report = examine(change)
    assert _unreadable(report) == [(reason, file)]
    assert report.verdict == "inconclusive"
    assert report.target.family == "soprano"


@pytest.mark.parametrize("static", [True, False])
def test_a_release_inside_an_archive_is_what_is_wrong(
    static: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    installed = Path(found.submodule_search_locations[0])
    archive = tmp_path / "release.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for file in installed.rglob("*.py"):
            written.write(file, file.relative_to(installed.parent))
    specimen = make_specimen("soprano", tmp_path)
    for name, value in environment(specimen.hub).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(archive))
    report = diagnose(Options(model=str(specimen.path), category="tts", only_static=static, timeout=120))
    assert [outcome for outcome in report.collectors if outcome.status == "failed"] == []
    (root,) = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert root.rule == "dependency-package-in-archive"
    assert [subject.name for subject in root.subjects] == ["mlx-audio", str(archive)]
    assert _unreadable(report) == [("zipped", "release.zip")]


def test_a_module_that_raises_when_it_is_looked_at_is_read_all_the_same(examine: Callable[..., Report]) -> None:
    report = examine(_appended(_RAISING), lacking="num_hidden_layers")
    assert [subject.name for finding in report.findings for subject in finding.subjects] == ["num_hidden_layers"]
    assert any(fact.kind == "class_signature" and fact["role"] == "config" for fact in report.facts)


def test_a_module_that_raises_when_it_is_looked_at_alive(examine: Callable[..., Report]) -> None:
    report = examine(_appended(_RAISING), static=False)
    assert report.verdict == "fails"
    assert [f.rule for f in report.findings if f.root] == ["code-module-refuses"]


def test_compiled_files_are_known_by_their_living_classes(examine: Callable[..., Report]) -> None:
    report = examine(_compiled, lacking="num_hidden_layers", static=False)
    assert _unreadable(report) == [("compiled-only", "__init__.pyc")]
    (root,) = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert (root.failure_class, [subject.name for subject in root.subjects]) == (
        "config/missing-key",
        ["num_hidden_layers"],
    )
    (config,) = [fact for fact in report.facts if fact.kind == "class_signature" and fact["role"] == "config"]
    assert "num_hidden_layers" in str(config["required"])
    assert any(f.kind == "absent_key" and f["path"] == "num_hidden_layers" and f["required"] for f in report.facts)
