"""Loads that are not strict return a model whatever the checkpoint holds: what does not fit is told all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Finding, Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.specimen import write_safetensors
from tests.specimens import make_specimen

#: Builds the family's default model and says what it consists of.
_SCRIPT = """
import dataclasses, json, sys
from mlx.utils import tree_flatten
from mlx_audio.vad.models.sortformer import Model, ModelConfig
config = ModelConfig.from_dict({"model_type": "sortformer"})
tensors = {name: list(value.shape) for name, value in tree_flatten(Model(config).parameters())}
json.dump({"config": dataclasses.asdict(config), "tensors": tensors}, sys.stdout)
"""


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def model(whole: dict[str, Any], tmp_path: Path) -> Callable[..., Report]:
    """Diagnoses the model with a changed config or changed tensors; bodies are holes."""

    def make(
        config: Callable[[dict[str, Any]], object] = lambda config: None,
        tensors: Callable[[dict[str, Any]], object] = lambda tensors: None,
    ) -> Report:
        made = json.loads(json.dumps(whole))
        config(made["config"])
        tensors(made["tensors"])
        path = tmp_path / "sortformer"
        path.mkdir()
        (path / "config.json").write_text(json.dumps({**made["config"], "model_type": "sortformer"}), encoding="utf-8")
        table = {name: ("F32", tuple(shape)) for name, shape in made["tensors"].items()}
        write_safetensors(path / "model.safetensors", table)
        return diagnose(Options(model=str(path), category="vad"))

    return make


def root(report: Report) -> Finding:
    (found,) = [finding for finding in report.findings if finding.root]
    return found


def test_a_whole_model_has_nothing_to_be_told(model: Callable[..., Report]) -> None:
    report = model()
    assert (report.verdict, list(report.findings)) == ("loads", [])


def test_a_wrong_value_is_the_root_of_the_shapes_that_do_not_fit(model: Callable[..., Report]) -> None:
    report = model(lambda config: config["tf_encoder_config"].update(d_model=384))
    assert report.verdict == "loads-with-warnings"
    found = root(report)
    assert (found.failure_class, found.severity) == ("config/value-mismatch", "warning")
    assert found.subjects[0].name == "tf_encoder_config.d_model"
    (fix,) = found.fixes
    assert (fix.applicability, fix.config_patch[0]["value"]) == ("verified", 192)
    assert "that did not fit now do" in (fix.reason or "")


def test_a_section_whose_defaults_do_not_fit_is_the_root_of_all_that_does_not(
    whole: dict[str, Any], model: Callable[..., Report]
) -> None:
    width = whole["config"]["tf_encoder_config"]["d_model"]

    def narrower(tensors: dict[str, Any]) -> None:
        for name, shape in tensors.items():
            if name.startswith("tf_encoder."):
                tensors[name] = [size // 2 if size % width == 0 else size for size in shape]

    report = model(lambda config: config.pop("tf_encoder_config"), narrower)
    assert report.verdict == "loads-with-warnings"
    found = root(report)
    assert (found.failure_class, found.subjects[0].name) == ("config/missing-section", "tf_encoder_config")
    assert "d_model" in found.cause


def test_a_section_that_may_be_left_out_is_no_finding(model: Callable[..., Report]) -> None:
    assert not model(lambda config: config.pop("tf_encoder_config")).findings


def test_a_tensor_that_is_missing_is_told(model: Callable[..., Report]) -> None:
    report = model(tensors=lambda tensors: tensors.pop("fc_encoder.layers.4.self_attn.bias_u"))
    found = root(report)
    assert (found.failure_class, found.subjects[0].name) == ("weights/missing", "fc_encoder.layers.4.self_attn.bias_u")


def test_a_tensor_that_is_left_aside_is_a_note(model: Callable[..., Report]) -> None:
    report = model(tensors=lambda tensors: tensors.update({"stray.weight": [3, 3]}))
    assert report.verdict == "loads"
    assert (root(report).failure_class, root(report).severity) == ("weights/unexpected", "info")


def test_tensors_under_other_names_are_renamed_on_trial(model: Callable[..., Report]) -> None:
    def renamed(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith("tf_encoder.layers.")]:
            tensors[name.replace("layers.", "blocks.")] = tensors.pop(name)

    report = model(tensors=renamed)
    assert report.verdict == "loads-with-warnings"
    found = root(report)
    assert (found.failure_class, found.severity) == ("weights/renamed", "warning")
    assert (found.fixes[0].kind, found.fixes[0].applicability) == ("weight-map", "verified")


@pytest.mark.long
def test_a_strict_load_that_leaves_its_parts_to_themselves_is_looked_at_as_well(tmp_path: Path) -> None:
    """chatterbox fills its parts itself, not strictly: blocks under names that it does not know stay random."""
    specimen = make_specimen("chatterbox", tmp_path, body="hole")
    lacking = "s3gen.flow.encoder.encoders_0.norm_ff.weight"
    assert lacking in specimen.tensors
    table = {name: tensor for name, tensor in specimen.tensors.items() if name != lacking}
    write_safetensors(specimen.path / "model.safetensors", table)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in specimen.environment.items():
            patch.setenv(name, value)
        report = diagnose(Options(model=str(specimen.path), category="tts"))
    assert report.verdict == "loads-with-warnings"
    found = root(report)
    assert (found.failure_class, [subject.name for subject in found.subjects]) == ("weights/missing", [lacking])


@pytest.mark.long
@pytest.mark.parametrize(("family", "section"), [("qwen3_tts", "talker_config"), ("vibevoice", "decoder_config")])
def test_a_strict_load_without_a_section_names_it_and_none_of_its_layers(
    family: str, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specimen = make_specimen(family, tmp_path)
    left = {key: value for key, value in specimen.config.items() if key != section}
    (specimen.path / "config.json").write_text(json.dumps(left), encoding="utf-8")
    for name, value in specimen.environment.items():
        monkeypatch.setenv(name, value)
    found = root(diagnose(Options(model=str(specimen.path), category="tts")))
    assert (found.failure_class, [subject.name for subject in found.subjects]) == ("config/missing-section", [section])
