"""Models that are not text-to-speech: their loads compare nothing, and are told as they are all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens.others import CONFIGS, write_other

QUICK = ("silero_vad", "deepfilternet", "mossformer2_se")


def examine(model: Path, **options: object) -> Report:
    return diagnose(Options(model=str(model), **options))  # type: ignore[arg-type]


def told(report: Report) -> list[str]:
    return [f"{finding.rule} {', '.join(item.name for item in finding.subjects)}" for finding in report.findings]


@pytest.mark.parametrize(
    ("category", "family"),
    [pytest.param(*key, marks=[] if key[1] in QUICK else [pytest.mark.long]) for key in CONFIGS],
)
def test_a_whole_model_has_no_finding(category: str, family: str, tmp_path: Path) -> None:
    model = write_other(category, family, tmp_path)
    report = examine(model)
    assert (report.target.category, report.target.family) == (category, family)
    assert (report.verdict, told(report)) == ("loads", [])
    unrun = examine(model, only_static=True)
    assert (unrun.target.category, unrun.target.family, told(unrun)) == (category, family, [])


def test_what_a_model_that_fills_a_part_of_itself_lacks_is_told(tmp_path: Path) -> None:
    name = "mossformer.prelu.weight"
    model = write_other(
        "sts",
        "mossformer2_se",
        tmp_path,
        tensors=lambda tensors: tensors.pop(f"model.{name}", None) or tensors.pop(name),
    )
    report = examine(model)
    assert report.verdict == "loads-with-warnings"
    assert [finding.failure_class for finding in report.findings] == ["weights/missing"]
    assert report.findings[0].subjects[0].name.endswith(name)


def test_what_a_model_that_renames_by_itself_lacks_is_told(tmp_path: Path) -> None:
    model = write_other(
        "sts", "deepfilternet", tmp_path, tensors=lambda tensors: tensors.pop("erb_dec.conv0p.0.weight")
    )
    report = examine(model)
    assert [finding.failure_class for finding in report.findings] == ["weights/missing"]
    assert "erb_dec.conv0p" in report.findings[0].subjects[0].name
