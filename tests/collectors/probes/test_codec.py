"""Codecs are loaded by their own ``from_pretrained``, with its stages marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.specimen import write_safetensors
from tests.specimens import codecs, make_specimen, tables, write_weights
from tests.specimens.hub import snapshot


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A copy of the SNAC codec that a specimen has for a companion, with a changed config, under a name."""
    made = make_specimen("llama", tmp_path_factory.mktemp("llama"))
    whole = snapshot(made.hub, "mlx-community/snac_24khz")
    folder = tmp_path_factory.mktemp("codec")

    def copy(name: str, change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
        path = folder / name
        path.mkdir()
        config = json.loads((whole / "config.json").read_text(encoding="utf-8"))
        change(config)
        (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (path / "model.safetensors").symlink_to(whole / "model.safetensors")
        return path

    return copy


def examine(model: Path) -> Report:
    return diagnose(Options(model=str(model), category="codec"))


def failed(report: Report) -> list[str]:
    return [stage.name for stage in report.stages if stage.status == "failed"]


def test_a_local_directory_of_a_codec_that_takes_only_ids_loads(codec: Callable[..., Path]) -> None:
    report = examine(codec("snac_24khz"))
    assert (report.verdict, report.target.family) == ("loads", "snac")
    passed = {stage.name for stage in report.stages if stage.status == "passed"}
    assert passed >= {"resolve", "architecture", "import", "construct", "weights", "load"}


def test_a_wrong_size_of_a_codec_is_named_and_proven(codec: Callable[..., Path]) -> None:
    report = examine(codec("snac-wrong-size", lambda config: config.update(codebook_size=128)))
    assert failed(report) == ["load"]
    first = report.findings[0]
    assert (first.failure_class, first.subjects[0].name) == ("config/value-mismatch", "codebook_size")
    assert [(fix.applicability, fix.config_patch[0]["value"]) for fix in first.fixes] == [("verified", 64)]


def test_rates_that_are_left_out_are_those_of_the_other_half_read_backwards(codec: Callable[..., Path]) -> None:
    report = examine(codec("snac-rates", lambda config: config.pop("encoder_rates")))
    (first,) = [found for found in report.findings if found.root]
    assert (first.failure_class, first.subjects[0].name) == ("config/wrong-default", "encoder_rates")
    assert [(fix.applicability, fix.config_patch[0]["value"]) for fix in first.fixes] == [("verified", [2, 4, 8, 8])]


def test_a_codec_without_a_config_fails_at_its_config(codec: Callable[..., Path]) -> None:
    model = codec("snac-bare")
    (model / "config.json").unlink()
    report = examine(model)
    assert failed(report) == ["config"]
    assert report.findings[0].failure_class == "config/absent"


def test_a_codec_that_reads_another_config_does_not_lack_config_json(tmp_path: Path) -> None:
    model = tmp_path / "vocos-mel-24khz"
    model.mkdir()
    (model / "config.yaml").write_text("backbone: {class_path: vocos.models.VocosBackbone}\n", encoding="utf-8")
    assert not [found for found in examine(model).findings if found.failure_class.startswith("config/absent")]
    (model / "config.yaml").unlink()
    write_safetensors(model / "model.safetensors", {"head.out.bias": ("F32", (4,))})
    report = examine(model)
    first = report.findings[0]
    assert (first.failure_class, first.subjects[0].name) == ("component/missing", "config.yaml")
    assert not [found for found in report.findings if found.failure_class == "config/absent"]


def test_a_name_that_is_no_codec_is_unsupported(codec: Callable[..., Path]) -> None:
    report = examine(codec("voice", lambda config: config.update(model_type="opus")))
    assert failed(report) == ["architecture"]
    assert report.findings[0].failure_class == "architecture/unsupported"


def test_a_codec_in_shards_lacks_the_one_file_that_its_loader_reads(codec: Callable[..., Path]) -> None:
    model = codec("snac-sharded")
    weights = (model / "model.safetensors").resolve()
    (model / "model.safetensors").unlink()
    (model / "model-00001-of-00001.safetensors").symlink_to(weights)
    report = examine(model)
    assert failed(report) == ["weights"]
    (found,) = [finding for finding in report.findings if finding.severity == "error"]
    assert (found.failure_class, found.subjects[0].name) == ("weights/absent", "model.safetensors")


@pytest.mark.parametrize(
    ("name", "table", "file"),
    [
        ("CosyVoice2-0.5B-S3Tokenizer", "codec.s3_tokenizer", "speech_tokenizer_v2_25hz.safetensors"),
        ("mimi", "codec.mimi", "tokenizer-e351c8d8-checkpoint125.safetensors"),
    ],
)
def test_a_codec_of_fixed_sizes_is_loaded_by_its_weights_file_alone(
    tmp_path: Path, name: str, table: str, file: str
) -> None:
    (tensors,) = tables.read(table).values()
    write_weights(tmp_path / name, {file: tensors}, body="hole")
    report = examine(tmp_path / name)
    assert (report.verdict, list(report.findings)) == ("loads", [])


def test_a_codec_that_nothing_loads_by_itself_is_not_called_broken(tmp_path: Path) -> None:
    model = tmp_path / "bigvgan"
    model.mkdir()
    (model / "config.json").write_text('{"num_mels": 100}', encoding="utf-8")
    write_weights(model, {"model.safetensors": {"conv_pre.bias": ("F32", (8,))}}, body="hole")
    report = examine(model)
    assert (report.verdict, list(report.findings)) == ("inconclusive", [])
    (load,) = [outcome for outcome in report.collectors if outcome.name == "load"]
    assert load.reason == "mlx-audio has no function that loads a codec of the family bigvgan by itself"


def test_a_misnamed_key_that_is_dropped_is_renamed(tmp_path: Path) -> None:
    # To write its value under the right name does the same, and is no rival.
    model = tmp_path / "descript-audio-codec-44khz"
    (tensors,) = tables.read("codec.dac").values()
    write_weights(model, {"model.safetensors": tensors}, body="hole")
    codecs.DAC.write(model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["codebookSize"] = config.pop("codebook_size")
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    first = examine(model).findings[0]
    assert (first.failure_class, [subject.name for subject in first.subjects]) == (
        "config/renamed-key",
        ["codebookSize", "codebook_size"],
    )
    assert [fix.applicability for fix in first.fixes] == ["verified"]


def test_a_misnamed_key_points_to_no_other_codec(tmp_path: Path) -> None:
    model = tmp_path / "dacvae-watermarked"
    repository = codecs.dacvae("org/codec")
    (tensors,) = tables.read("codec.dacvae").values()
    write_weights(model, {"model.safetensors": tensors}, body="hole")
    repository.write(model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["latentDim"] = config.pop("latent_dim")
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert [found.failure_class for found in examine(model).findings if found.root] == ["config/renamed-key"]
