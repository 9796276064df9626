"""Traced loads of real specimens: the tree of calls, where arguments came from, and that the outcome is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Fact, Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import to_json
from mlx_diagnose.engine.report.text import render
from mlx_diagnose.engine.report.view import View
from tests.specimens import make_specimen
from tests.specimens.hub import environment, snapshot


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Diagnoses a small specimen whose config.json is changed by ``change``."""

    def run(family: str, change: Callable[[dict[str, Any]], object] = lambda config: None, **options: Any) -> Report:
        made = make_specimen(family, tmp_path)
        for name, value in environment(made.hub).items():
            monkeypatch.setenv(name, value)
        config = json.loads((made.path / "config.json").read_text())
        change(config)
        (made.path / "config.json").write_text(json.dumps(config))
        report = diagnose(Options(model=str(made.path), timeout=120, **options))
        to_json(report)
        return report

    return run


def of(report: Report, kind: str, **fields: object) -> list[Fact]:
    return [
        f for f in report.facts if f.kind == kind and all(f.fields[name] == value for name, value in fields.items())
    ]


def test_a_model_that_loads_is_traced_only_if_asked(examine: Callable[..., Report]) -> None:
    report = examine("soprano")
    assert report.verdict == "loads"
    assert not of(report, "trace") and not of(report, "init_call")


def test_the_tree_of_a_healthy_model(examine: Callable[..., Report]) -> None:
    report = examine("soprano", trace=True)
    assert report.verdict == "loads"
    assert report.findings == []
    calls = of(report, "init_call")
    model = next(call for call in calls if call["function"] == "SopranoModel.__init__" or call["place"] == "model")
    layers = next(call for call in calls if str(call["place"]).startswith("layers.{0.."))
    assert layers["count"] == int(str(layers["place"]).rpartition("..")[2].rstrip("}")) + 1
    assert int(str(layers["depth"])) > int(str(model["depth"]))
    root = next(call for call in calls if call["function"] == "Model.__init__")
    assert int(str(root["parameters"])) > int(str(layers["parameters"])) > 0
    assert int(str(root["bytes"])) >= 2 * int(str(root["parameters"])) > 0
    assert int(str(root["resident_before"])) > 0
    assert not any(call["raised"] for call in calls if call["stage"] == "construct")
    hidden = of(report, "call_argument", function="ModelConfig.__init__", name="hidden_size")
    assert [(fact["origin"], fact["config_path"]) for fact in hidden] == [("config", "hidden_size")]


def test_the_text_shows_the_tree_with_seconds(examine: Callable[..., Report]) -> None:
    text = render(examine("soprano", trace=True), View(100, False, True, False))
    line = next(line for line in text.splitlines() if "Model.__init__" in line)
    assert "s " in line and "tensors" in line and "parameters" in line
    assert "x" in next(line for line in text.splitlines() if "(layers.{0.." in line)


def test_a_failure_is_traced_by_itself(examine: Callable[..., Report]) -> None:
    report = examine("soprano", lambda config: config.pop("hidden_size"))
    assert of(report, "trace", requested=False)
    raised = of(report, "init_call", raised=True)
    assert "BaseModelArgs.from_dict" in {call["function"] for call in raised}
    assert "Calls" not in render(report, View(100, False, True, False))
    assert "Calls" in render(report, View(100, False, True, True))


@pytest.mark.parametrize("family", ["soprano", "tada"])
def test_a_trace_does_not_change_the_outcome(examine: Callable[..., Report], family: str) -> None:
    plain, traced = examine(family), examine(family, trace=True)
    assert [(s.name, s.status) for s in plain.stages] == [(s.name, s.status) for s in traced.stages]
    assert [f.rule for f in plain.findings] == [f.rule for f in traced.findings]


def test_the_key_behind_a_failure_is_named_where_no_change_mends_it(examine: Callable[..., Report]) -> None:
    report = examine("indextts", lambda config: config["gpt"].__setitem__("condition_type", "other"))
    root = next(finding for finding in report.findings if finding.root and finding.severity == "error")
    assert (root.failure_class, [s.name for s in root.subjects]) == ("config/value-mismatch", ["gpt.condition_type"])
    reached = of(report, "reached_value", path="gpt.condition_type")
    assert [(fact["origin"], fact["certain"]) for fact in reached] == [("config", True)]


def test_a_part_that_stays_empty_since_its_failure_was_caught(examine: Callable[..., Report], tmp_path: Path) -> None:
    """Echo TTS goes on without a codec; here its checkpoint is there and cannot be read."""
    made = make_specimen("echo_tts", tmp_path)
    (snapshot(made.hub, "jordand/fish-s1-dac-min") / "config.json").write_text("{")
    report = examine("echo_tts")
    (part,) = of(report, "part_left_empty")
    assert (part["part"], part["loads"]) == ("model.fish_ae", True)
    warned = [finding for finding in report.findings if finding.severity == "warning" and finding.root]
    assert [finding.rule for finding in warned] == ["component-part-left-empty"]
    assert report.verdict == "loads-with-warnings"
