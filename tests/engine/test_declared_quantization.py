"""A quantisation that config.json declares and the weights do not have: told where it has no effect, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from tests.specimens import make_specimen


@pytest.mark.parametrize(
    ("section", "rules"),
    [
        (None, []),
        ({"group_size": 64, "bits": 4}, ["quantization-declared-without-effect"]),
        ({"bits": 7}, ["quantization-declared-without-effect"]),
        ({"quant_method": "fp8", "group_size": 64, "bits": 8}, []),
    ],
)
def test_a_section_without_effect_is_a_warning(
    section: dict[str, object] | None, rules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_specimen("soprano", tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    config = json.loads((made.path / "config.json").read_text())
    (made.path / "config.json").write_text(json.dumps({**config, **({"quantization": section} if section else {})}))
    report = diagnose(Options(model=str(made.path), timeout=120))
    assert report.verdict == ("loads-with-warnings" if rules else "loads")
    assert [(finding.rule, finding.severity) for finding in report.findings] == [(rule, "warning") for rule in rules]
