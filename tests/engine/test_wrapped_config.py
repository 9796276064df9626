"""A config.json whose contents stand under one key: that is what is wrong, not all that is then missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_diagnose.adapters.config_patch import apply_patch
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import make_specimen


@pytest.mark.parametrize(
    ("family", "wrapper", "outside"),
    [
        ("kokoro", "model", ()),
        pytest.param("soprano", "config", ("model_type",), marks=pytest.mark.long),
        pytest.param("qwen3_tts", "config", ("model_type",), marks=pytest.mark.long),
    ],
)
def test_the_wrapper_is_the_one_root(
    family: str, wrapper: str, outside: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_specimen(family, tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    whole = json.loads((made.path / "config.json").read_text())
    kept = {name: whole.pop(name) for name in outside}
    (made.path / "config.json").write_text(json.dumps({**kept, wrapper: whole}))
    report = diagnose(Options(model=str(made.path), timeout=120))
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert [(root.rule, [one.name for one in root.subjects]) for root in roots] == [("config-wrapped", [wrapper])]
    assert report.findings[0] is roots[0]
    (fix,) = roots[0].fixes
    assert (fix.kind, fix.applicability) == ("config-patch", "verified")
    assert apply_patch({**kept, wrapper: whole}, fix.config_patch) == {**kept, **whole}


def test_a_key_that_nobody_knows_is_no_wrapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_specimen("soprano", tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    whole = json.loads((made.path / "config.json").read_text())
    broken = {**whole, "training": whole, "hidden_size": 2 * whole["hidden_size"]}
    (made.path / "config.json").write_text(json.dumps(broken))
    report = diagnose(Options(model=str(made.path), timeout=120))
    assert [fact for fact in report.facts if fact.kind == "config_wrapped"] == []
