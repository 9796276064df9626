"""A config.json whose keys are all in another style than the model takes them is put right at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import make_specimen
from tests.specimens.hub import environment


def camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def kebab(name: str) -> str:
    return name.replace("_", "-")


def restyled(value: Any, style: Callable[[str], str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {name if name == "model_type" else style(name): restyled(item, style) for name, item in value.items()}


@pytest.mark.parametrize(("family", "style"), [("soprano", camel), ("soprano", kebab), ("voxcpm", camel)])
def test_all_names_are_changed_at_once(
    family: str, style: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path / "home"))
    made = make_specimen(family, tmp_path / "model", size="small")
    for name, value in environment(made.hub).items():
        monkeypatch.setenv(name, value)
    config = json.loads((made.path / "config.json").read_text())
    (made.path / "config.json").write_text(json.dumps(restyled(config, style)))
    report = diagnose(Options(model=str(made.path), timeout=120))
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert [finding.failure_class for finding in roots] == ["config/renamed-key"], [root.rule for root in roots]
    (fix,) = roots[0].fixes
    assert (fix.applicability, list(report.mends)) == ("verified", [fix.id])
    names = {subject.name for subject in roots[0].subjects}
    assert {style("hidden_size"), "hidden_size"} <= {name.rpartition(".")[2] for name in names}
