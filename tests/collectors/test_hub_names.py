"""Names from the hub: which may become paths, what is fetched, what was meant, what is the same model."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlx_diagnose.collectors import hub_card, hub_names, hub_nearest, hub_variants
from mlx_diagnose.collectors.hub_headers import Header
from mlx_diagnose.collectors.hub_scratch import ScratchCache
from mlx_diagnose.engine.memory import WorkingMemory


@pytest.mark.parametrize(
    "name", ["config.json", "voices/af heart.safetensors", "a/b/c.txt", ".gitattributes", "é.json"]
)
def test_ordinary_names_become_paths(name: str) -> None:
    assert hub_names.is_safe(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../a",
        "a/../b",
        "/a",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "c:a",
        "nul",
        "CON.json",
        "x/LPT1.txt",
        "a\0",
        "a\n",
        "a. ",
        "a.",
        "x" * 300,
        "\ud800",
    ],
)
def test_others_do_not(name: str, tmp_path: Path) -> None:
    assert not hub_names.is_safe(name)
    scratch = ScratchCache(tmp_path, tmp_path / "absent").repository("org/model", "0" * 40, None)
    with pytest.raises(ValueError):
        scratch.hold(name, 1)


def test_what_a_load_reads_is_fetched_first_and_what_people_read_is_not() -> None:
    files = ["README.md", "tokenizer_config.json", "config.json", "vocab.json", "voices/a.json", "spm/x.model"]
    order = {name: hub_names.priority(name, frozenset(files)) for name in files}
    assert sorted((name for name in files if order[name] is not None), key=lambda name: order[name] or 0) == [
        "config.json",
        "tokenizer_config.json",
        "vocab.json",
        "spm/x.model",
    ]
    assert hub_names.priority("vocab.json", frozenset({"tokenizer.json"})) is None
    assert not hub_names.is_small("README.md", 10)
    assert not hub_names.is_small("data.json", 1 << 30)
    assert hub_names.is_fetched_on_demand("stats.npz", 1000)
    assert not hub_names.is_fetched_on_demand("model.pth", 1 << 30)


def test_the_scratch_cache_holds_what_is_known_and_tells_what_is_read(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "models--org--other").mkdir(parents=True)
    (real / "models--org--model").mkdir()
    cache = ScratchCache(tmp_path, real)
    scratch = cache.repository("org/model", "0" * 40, "main")
    assert (cache.path / "models--org--other").resolve() == real / "models--org--other"
    assert list((real / "models--org--model").iterdir()) == []
    scratch.ghost(Header("w.safetensors", b"12345678{}", 1 << 40))
    scratch.hold("tokenizer.json", 100)
    assert scratch.is_held("tokenizer.json")
    assert (scratch.directory / "w.safetensors").stat().st_size == 1 << 40
    assert cache.read_natively() == []
    # As native code reads: not by Python's open.
    descriptor = os.open(scratch.directory / "tokenizer.json", os.O_RDONLY)
    os.read(descriptor, 10)
    os.close(descriptor)
    if (scratch.directory / "tokenizer.json").stat().st_atime == 1:
        pytest.skip("this file system does not keep the time of the last access")
    assert cache.read_natively() == ["models--org--model/tokenizer.json"]
    assert cache.read_natively() == []
    scratch.link("tokenizer.json", Path(__file__))
    assert not scratch.is_held("tokenizer.json")


def candidates(model: str, **known: list[str]) -> list[Any]:
    memory = WorkingMemory()
    hub_nearest.collect(memory, model, known)
    return [fact["candidate"] for fact in memory.of("hub_candidate")]


def test_what_may_have_been_meant() -> None:
    known = ["mlx-community/Kokoro-82M-bf16", "mlx-community/Dia-1.6B", "prince-canuma/Kokoro-82M"]
    assert candidates("mlx-comunity/Kokoro-82M-bf16", cache=known)[0] == known[0]
    assert candidates("mlx-community/kokoro-82m-bf16", cache=known)[0] == known[0]
    assert candidates("mlx-community/Whisper", cache=known) == []
    assert "mlx-community/Kokoro-82M-bf16" in hub_nearest.known_ids()


def test_the_same_model_in_other_numbers() -> None:
    memory = WorkingMemory()
    others = ["org/Voice-1B-4bit", "org/Voice-1B-bf16", "org/Voice-1B", "org/Voice-2B-4bit", "them/Voice-1B-4bit"]
    hub_variants.collect(memory, "org/Voice-1B-8bit", [*others, "org/Voice-1B-8bit", "org/Voice-1B-mxfp4"])
    told = {fact["variant"]: (fact["bits"], fact["smaller"]) for fact in memory.of("hub_variant")}
    assert told == {
        "org/Voice-1B": (16.0, False),
        "org/Voice-1B-4bit": (4.0, True),
        "org/Voice-1B-bf16": (16.0, False),
        "org/Voice-1B-mxfp4": (4.0, True),
    }


def test_a_card_says_little_or_much(tmp_path: Path) -> None:
    bare = hub_card.read(SimpleNamespace(tags=None))
    assert (bare.licence, bare.base_model, bare.tags) == (None, None, ())
    card = SimpleNamespace(library_name="mlx-audio", license="mit", base_model=["a/b"])
    told = hub_card.read(SimpleNamespace(tags=["tts"], card_data=card, pipeline_tag="text-to-speech"))
    assert (told.library, told.licence, told.base_model, told.task) == ("mlx-audio", "mit", "a/b", "text-to-speech")
    readme = tmp_path / "README.md"
    readme.write_text("This model was converted to MLX format from [`a/b`]() using mlx-audio version **0.2.10**.\n")
    assert hub_card.converted_with(readme) == "0.2.10"
    readme.write_text("pip install -U mlx-audio")
    assert hub_card.converted_with(readme) is None
    assert hub_card.converted_with(tmp_path / "absent") is None
