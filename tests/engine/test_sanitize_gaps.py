"""Experts of a layer that sanitize stacks: one that is lacking, one under another name, and one too many wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import Specimen, make_specimen
from tests.specimens.mutants import mutate

_EXPERT = "model.model.layers.1.mlp.experts.1.gate_proj.weight"
_UNDERSCORED = _EXPERT.replace(".", "_")


@pytest.fixture(params=["bailingmm", "lingv3_tts"])
def whole(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Specimen:
    """One raises a KeyError by the expert's name, the other says which layer's experts are incomplete."""
    made = make_specimen(request.param, tmp_path / "whole")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def report(whole: Specimen, tmp_path: Path, kind: str, **options: Any) -> Report:
    return diagnose(Options(model=str(mutate(whole, kind, tmp_path / "broken", **options).specimen.path), timeout=120))


def test_an_expert_that_is_lacking_is_named(whole: Specimen, tmp_path: Path) -> None:
    first, *others = report(whole, tmp_path, "tensor-dropped", name=_EXPERT).findings
    assert (first.failure_class, first.stage, [one.name for one in first.subjects]) == (
        "weights/missing",
        "sanitize",
        [_EXPERT],
    )
    assert not [finding for finding in others if finding.severity == "error"]


def test_an_expert_under_another_name_gets_its_own_again(whole: Specimen, tmp_path: Path) -> None:
    first, *_ = report(whole, tmp_path, "tensor-renamed", name=_EXPERT, to=_UNDERSCORED).findings
    assert (first.failure_class, [one.name for one in first.subjects]) == ("weights/renamed", [_UNDERSCORED, _EXPERT])
    (fix,) = first.fixes
    assert fix.applicability == "verified"
    assert [(step["op"], step["from"], step["to"]) for step in fix.weight_map] == [("rename", _UNDERSCORED, _EXPERT)]


@pytest.mark.parametrize("whole", ["bailingmm"], indirect=True)
def test_one_expert_more_than_there_is_is_a_number_of_the_config(whole: Specimen, tmp_path: Path) -> None:
    first, *_ = report(whole, tmp_path, "value-changed", path="llm_config.num_experts", value=5).findings
    assert (first.rule, [one.name for one in first.subjects]) == (
        "config-count-beyond-series",
        ["llm_config.num_experts"],
    )
    assert [(fix.applicability, fix.config_patch[0]["value"]) for fix in first.fixes] == [("verified", 4)]
