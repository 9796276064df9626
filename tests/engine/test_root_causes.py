"""Models broken as they are at users' sites: the first error names what was broken, its fix is proven if it can be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import Finding, Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.specimen import write_safetensors, write_sharded
from tests.specimens import make_specimen
from tests.specimens.hub import snapshot
from tests.specimens.recipe import Specimen


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """The errors of a family's specimen of which the files or the config were changed, roots only."""

    def make(
        family: str,
        config: Callable[[dict[str, Any]], object] = lambda config: None,
        files: Callable[[Specimen], object] = lambda specimen: None,
    ) -> list[Finding]:
        specimen = make_specimen(family, tmp_path)
        data = json.loads((specimen.path / "config.json").read_text(encoding="utf-8"))
        config(data)
        (specimen.path / "config.json").write_text(json.dumps(data, indent=2), encoding="utf-8")
        files(specimen)
        for name, value in specimen.environment.items():
            monkeypatch.setenv(name, value)
        report: Report = diagnose(Options(model=str(specimen.path)))
        return [finding for finding in report.findings if finding.severity == "error" and finding.root]

    return make


def subjects(finding: Finding) -> list[str]:
    return [subject.name for subject in finding.subjects]


def test_null_in_the_place_of_a_size_gets_the_size_of_the_checkpoint(broken: Callable[..., list[Finding]]) -> None:
    (found,) = broken("soprano", lambda config: config.update(intermediate_size=None))
    assert (found.failure_class, subjects(found)) == ("config/wrong-type", ["intermediate_size"])
    (fix,) = found.fixes
    assert (fix.applicability, fix.config_patch[0]["value"]) == ("verified", 128)


@pytest.mark.long
def test_a_section_with_nothing_in_it_is_a_section_that_is_lacking(broken: Callable[..., list[Finding]]) -> None:
    (found,) = broken("higgs_audio_v3", lambda config: config.update(text_config={}))
    assert (found.failure_class, subjects(found)) == ("config/missing-section", ["text_config"])


@pytest.mark.long
def test_a_null_section_is_named_and_not_the_method_that_is_called_on_it(
    broken: Callable[..., list[Finding]],
) -> None:
    (found,) = broken("echo_tts", lambda config: config.update(sampler=None))
    assert (found.failure_class, subjects(found)) == ("config/wrong-type", ["sampler"])


@pytest.mark.long
def test_a_tokenizer_that_is_a_pointer_is_the_file_that_is_named(broken: Callable[..., list[Finding]]) -> None:
    def pointer(specimen: Specimen) -> None:
        text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
        (specimen.path / "checkpoints" / "tokenizer.json").write_text(text, encoding="utf-8")

    (found,) = broken("confucius4", files=pointer)
    assert (found.failure_class, subjects(found)) == ("component/incompatible", ["checkpoints/tokenizer.json"])


@pytest.mark.long
def test_a_companion_with_a_page_in_the_place_of_its_config_is_named(broken: Callable[..., list[Finding]]) -> None:
    def page(specimen: Specimen) -> None:
        file = snapshot(specimen.hub, "bert-base-multilingual-cased") / "tokenizer_config.json"
        os.unlink(file)
        file.write_text("<html>not found</html>", encoding="utf-8")

    (found,) = broken("bark", files=page)
    assert (found.failure_class, subjects(found)) == ("component/incompatible", ["bert-base-multilingual-cased"])


def test_a_part_whose_tensors_and_whose_file_are_not_there_is_told_by_the_file(
    broken: Callable[..., list[Finding]],
) -> None:
    def without_codec(specimen: Specimen) -> None:
        kept = {name: tensor for name, tensor in specimen.tensors.items() if not name.startswith("audio_vae.")}
        write_safetensors(specimen.path / "model.safetensors", kept)

    (found,) = broken("voxcpm", files=without_codec)
    assert (found.failure_class, subjects(found)) == ("component/missing", ["audiovae.pth", "audio_vae"])


@pytest.mark.long
def test_a_number_that_the_code_works_out_where_it_is_not_given_is_put_in(
    broken: Callable[..., list[Finding]],
) -> None:
    (found,) = broken("voxcpm2", lambda config: config["encoder_config"].pop("kv_channels"))
    assert (found.failure_class, subjects(found)) == ("config/missing-key", ["encoder_config.kv_channels"])
    assert [fix.applicability for fix in found.fixes] == ["verified"]


def without_a_shard(specimen: Specimen) -> None:
    (specimen.path / "model.safetensors").unlink()
    write_sharded(specimen.path, specimen.tensors, shards=3, index=False, body="hole")
    (specimen.path / "model-00003-of-00003.safetensors").unlink()


@pytest.mark.parametrize(
    ("family", "change", "expected"),
    [
        (
            "dia",
            lambda config: config["model"]["encoder"].update(n_head=3),
            ("config/value-mismatch", "model.encoder.n_head"),
        ),
        (
            "moss_tts_nano",
            lambda config: config.update({"gpt2-config": config.pop("gpt2_config")}),
            ("config/renamed-key", "gpt2-config"),
        ),
    ],
)
def test_what_has_another_shape_is_not_for_the_shard_that_is_lacking(
    family: str,
    change: Callable[[dict[str, Any]], object],
    expected: tuple[str, str],
    broken: Callable[..., list[Finding]],
) -> None:
    first, second = broken(family, change, without_a_shard)
    assert (first.failure_class, subjects(first)[0]) == expected
    assert (second.failure_class, subjects(second)) == ("weights/incomplete", ["model-00003-of-00003.safetensors"])


@pytest.mark.long
def test_a_part_whose_weights_are_of_another_model_is_named(broken: Callable[..., list[Finding]]) -> None:
    def other(specimen: Specimen) -> None:
        file = specimen.path / "audio_tokenizer" / "model.safetensors"
        file.unlink()
        write_safetensors(file, {"voice.embedding": ("F32", (4, 8))})

    (found,) = broken("omnivoice", files=other)
    assert (found.failure_class, subjects(found)) == ("component/incompatible", ["audio_tokenizer/model.safetensors"])


@pytest.mark.long
def test_null_where_the_code_annotates_nothing_gets_the_number_that_the_load_asks_for(
    broken: Callable[..., list[Finding]],
) -> None:
    (found,) = broken("chatterbox", lambda config: config["t3_config"].update(speaker_embed_size=None))
    assert (found.failure_class, subjects(found)) == ("config/wrong-type", ["t3_config.speaker_embed_size"])
    assert [(fix.applicability, fix.config_patch[0]["value"]) for fix in found.fixes] == [("verified", 256)]


@pytest.mark.parametrize(
    ("family", "failure_class", "subject"),
    [("moss_tts_nano", "config/missing-section", "gpt2_config"), ("voxcpm", "config/missing-section", "lm_config")],
)
def test_a_config_that_gives_nothing_but_the_type_is_told_by_what_it_leaves_out(
    broken: Callable[..., list[Finding]], family: str, failure_class: str, subject: str
) -> None:
    def emptied(config: dict[str, Any]) -> None:
        kept = {"model_type": config["model_type"]}
        config.clear()
        config.update(kept)

    (found,) = broken(family, emptied)
    assert found.failure_class == failure_class
    assert subject in subjects(found)


def test_what_is_behind_a_misspelt_type_is_told_and_mended_with_it(broken: Callable[..., list[Finding]]) -> None:
    kind, size = broken("llama", lambda config: config.update(model_type="lllama", intermediate_size=96))
    assert (kind.failure_class, subjects(kind)) == ("architecture/unsupported", ["lllama", "llama"])
    assert (size.failure_class, subjects(size)) == ("config/value-mismatch", ["intermediate_size"])
    (first,), (second,) = kind.fixes, size.fixes
    assert [first.applicability, second.applicability] == ["verified", "verified"]
    assert size.observed_after == (first.id,)
