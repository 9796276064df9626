"""A file that the model directory lacks is taken from where it lies on this machine, if it is sure to belong there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_diagnose.engine.fixing import write_fixes
from mlx_diagnose.engine.model import Fix, Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import from_json, to_json
from tests.specimens import make_specimen
from tests.specimens.hub import environment, snapshot
from tests.specimens.recipe import Specimen

ROOT = Path(__file__).parents[2]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Specimen:
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "home"))
    made = make_specimen("soprano", tmp_path / "whole")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def broken(whole: Specimen, tmp_path: Path) -> Path:
    """The specimen without its tokenizer, in a folder with nothing beside it."""
    path = tmp_path / "broken" / whole.path.name
    shutil.copytree(whole.path, path)
    for name in TOKENIZER:
        (path / name).unlink()
    return path


def take(whole: Specimen, folder: Path, words: int | None = None) -> Path:
    """The specimen's tokenizer in ``folder``; of ``words`` words if that is said."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        shutil.copyfile(whole.path / name, folder / name)
    if words is not None:
        document = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = document["model"]["vocab"]
        vocabulary.update({f"word{n}": n for n in range(len(vocabulary), words)})
        (folder / "tokenizer.json").write_text(json.dumps(document))
    return folder


def examined(path: Path) -> tuple[Report, Fix | None]:
    report = diagnose(Options(model=str(path), timeout=120))
    assert to_json(from_json(to_json(report))) == to_json(report)
    fixes = [fix for finding in report.findings for fix in finding.fixes if fix.title.startswith("Take ")]
    return report, fixes[0] if fixes else None


def in_a_snapshot_of_the_base_model(whole: Specimen, broken: Path) -> Path:
    (broken / "README.md").write_text("---\nlicense: mit\nbase_model:\n- org/Base\n---\nText.\n")
    return take(whole, snapshot(whole.hub, "org/Base"))


def in_a_folder_of_the_model(whole: Specimen, broken: Path) -> Path:
    return take(whole, broken / "original")


def beside_it_with_as_many_words(whole: Specimen, broken: Path) -> Path:
    return take(whole, broken.parent / "Soprano-original", whole.config["vocab_size"])


@pytest.mark.parametrize(
    "place",
    [
        in_a_snapshot_of_the_base_model,
        pytest.param(in_a_folder_of_the_model, marks=pytest.mark.long),
        pytest.param(beside_it_with_as_many_words, marks=pytest.mark.long),
    ],
)
def test_it_is_taken_and_the_model_loads(
    whole: Specimen, broken: Path, tmp_path: Path, place: Callable[[Specimen, Path], Path]
) -> None:
    folder = place(whole, broken)
    report, fix = examined(broken)
    assert report.verdict == "fails"
    assert fix is not None and fix.applicability == "verified", fix
    assert dict(fix.copies) == {name: str(folder / name) for name in TOKENIZER}
    assert list(report.mends) == [fix.id]
    before = sorted(os.listdir(broken))
    out = tmp_path / "out" / broken.name
    asked = Options(model=str(broken), timeout=120)
    written, error = write_fixes(report, asked, out)
    assert error is None and written.written is not None and written.written.loads
    for name in TOKENIZER:
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(os.listdir(broken)) == before
    record = json.loads((out / "diagnose" / "undo.json").read_text())
    assert record["copies"] == dict(fix.copies)
    words = [sys.executable, str(ROOT / "tests" / "loaded_parameters.py"), str(out), str(whole.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    mended, original = (json.loads(line) for line in done.stdout.splitlines())
    assert mended["error"] is None and mended["parameters"] == original["parameters"]


def test_another_snapshot_of_the_same_repository_has_it(whole: Specimen, tmp_path: Path) -> None:
    repository = "org/Soprano-80M-bf16"
    first = snapshot(whole.hub, repository)
    shutil.copytree(whole.path, first, dirs_exist_ok=True)
    second = first.parent / ("1" * 40)
    shutil.copytree(whole.path, second)
    for name in TOKENIZER:
        (second / name).unlink()
    _, fix = examined(second)
    assert fix is not None and fix.applicability == "verified", fix
    assert dict(fix.copies) == {name: str(first / name) for name in TOKENIZER}


def test_two_that_differ_are_no_fix(whole: Specimen, broken: Path) -> None:
    take(whole, broken / "original")
    take(whole, broken / "older", words=40)
    report, fix = examined(broken)
    assert not report.mends
    assert fix is not None and fix.applicability == "unverified" and str(fix.reason).startswith("ambiguous: 2 places")


def test_one_beside_it_of_which_nothing_is_known_is_only_told(whole: Specimen, broken: Path) -> None:
    take(whole, broken.parent / "another-model")
    report, fix = examined(broken)
    assert not report.mends
    assert fix is not None and (fix.applicability, dict(fix.copies)) == ("unverified", {})
    assert "nothing says that it belongs to it" in str(fix.reason)


def test_one_with_more_words_than_the_model_has_is_none(whole: Specimen, broken: Path) -> None:
    take(whole, broken / "original", whole.config["vocab_size"] + 1)
    report, fix = examined(broken)
    assert fix is None
    assert [finding.rule for finding in report.findings if finding.root] == ["component-tokenizer-files-absent"]


def test_weights_whose_ending_has_another_case_are_renamed(whole: Specimen, tmp_path: Path) -> None:
    path = tmp_path / "broken" / whole.path.name
    shutil.copytree(whole.path, path)
    (path / "model.safetensors").rename(path / "model.SAFETENSORS")
    report = diagnose(Options(model=str(path), timeout=120))
    (finding,) = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert (finding.failure_class, finding.subjects[0].name) == ("weights/absent", "model.SAFETENSORS")
    (fix,) = finding.fixes
    assert (fix.applicability, list(report.mends)) == ("verified", [fix.id])
    out = tmp_path / "out" / path.name
    written, error = write_fixes(report, Options(model=str(path), timeout=120), out)
    assert error is None and written.written is not None and written.written.loads
    assert sorted(entry.name for entry in out.glob("model.*")) == ["model.safetensors"]
