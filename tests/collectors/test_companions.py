"""Companions of families, read in their source: those that specimens of every family need, and how code asks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import companions
from mlx_diagnose.collectors.companions import Companion, describe
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.knowledge_base.configurations import known_good
from tests.specimens import families, make_specimen

_SPEC = find_spec("mlx_audio")
MLX_AUDIO = Path(_SPEC.submodule_search_locations[0]) if _SPEC and _SPEC.submodule_search_locations else None
needs_mlx_audio = pytest.mark.skipif(MLX_AUDIO is None, reason="mlx-audio is not installed")


@needs_mlx_audio
@pytest.mark.parametrize("family", families())
def test_what_a_whole_specimen_needs_is_found_and_nothing_else_is_wanting(family: str, tmp_path: Path) -> None:
    assert MLX_AUDIO is not None
    specimen = make_specimen(family, tmp_path)
    found = describe(MLX_AUDIO, "tts", family, config=specimen.config, directory=specimen.path)
    at_load = {c.name: c for c in found if c.what == "repo" and c.stage is not None}
    known = known_good(family)
    assert known is not None
    cached = {c for c in known.companions if (specimen.hub / "hub" / f"models--{c.replace('/', '--')}").exists()}
    # Which of two tokenizers kugelaudio takes is decided by its config.
    undecided = {c.name for c in describe(MLX_AUDIO, "tts", family) if c.stage is not None}
    assert cached <= at_load.keys() | undecided
    assert set(known.swallowed) <= {name for name, c in at_load.items() if c.swallowed}
    wanting = [
        c.name
        for c in found
        if c.stage is not None
        and not (c.tested or c.swallowed)
        and companions.state_of(c, specimen.path, {"HF_HOME": str(specimen.hub)}) not in ("cached", "present")
    ]
    assert wanting == []


_FAMILY = """
import os
from pathlib import Path
from transformers import AutoTokenizer
from huggingface_hub import snapshot_download, hf_hub_download
from .config import ModelConfig
from .parts import Codec

AT_IMPORT = Codec.from_pretrained("org/at-import")

class Model:
    def __init__(self, config):
        self.config = config
        if config.text.tokenizer:
            self.tokenizer = AutoTokenizer.from_pretrained(config.text.tokenizer)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained("org/otherwise")
        self.codec = Codec.from_pretrained(config.codec_repo)
        self.voices = open(os.path.join(config.model_path, "voices", "list.json"))

    @classmethod
    def post_load_hook(cls, model, model_path):
        weights = Path(model_path) / "extra.safetensors"
        if not weights.exists():
            raise FileNotFoundError(weights)
        style = model_path / "style.npz"
        if style.exists():
            model.style = mx.load(str(style))
        try:
            model.vocoder = hf_hub_download("org/vocoder", filename=f"{model.config.kind}.safetensors")
        except Exception:
            model.vocoder = None
        try:
            model.judge = snapshot_download(repo_id=os.environ.get("JUDGE", "org/judge"))
        except ImportError:
            pass
        return model

    def generate(self, text, aligner="org/aligner"):
        return snapshot_download(aligner)
"""
_CONFIG = """
from dataclasses import dataclass, field

@dataclass
class TextConfig:
    tokenizer: str = "org/tokenizer-default"

@dataclass
class ModelConfig:
    text: TextConfig = field(default_factory=TextConfig)
    codec_repo: str = "org/codec-default"
    kind: str = "small"
    model_path: str = ""
"""
_PARTS = """
from huggingface_hub import snapshot_download
class Codec:
    @classmethod
    def from_pretrained(cls, repo, revision=None):
        folder = snapshot_download(repo, allow_patterns=["*.json"])
        return cls(folder + "/config.json")
    def __init__(self, path):
        self.config = open(path)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    family = tmp_path / "mlx_audio" / "tts" / "models" / "made_up"
    family.mkdir(parents=True)
    for folder in (family, family.parent, family.parents[1], family.parents[2]):
        (folder / "__init__.py").touch()
    (family / "__init__.py").write_text("from .made_up import Model, ModelConfig\n")
    (family / "made_up.py").write_text(_FAMILY)
    (family / "config.py").write_text(_CONFIG)
    (family / "parts.py").write_text(_PARTS)
    return tmp_path / "mlx_audio"


def named(package: Path, **options: Any) -> dict[str, Companion]:
    return {c.name: c for c in describe(package, "tts", "made_up", **options)}


def test_stages_and_lines(package: Path) -> None:
    found = named(package)
    stages = {name: c.stage for name, c in found.items()}
    assert stages["org/at-import"] == "import"
    assert stages["org/codec-default"] == stages["voices/list.json"] == "construct"
    assert stages["org/vocoder"] == stages["org/judge"] == stages["extra.safetensors"] == "post_load"
    assert stages["org/aligner"] is None
    codec = found["org/codec-default"]
    assert (Path(codec.file).name, Path(codec.by_file).name, codec.reader) == (
        "parts.py",
        "made_up.py",
        "Codec.from_pretrained",
    )
    assert _FAMILY.splitlines()[codec.by_line - 1].strip().startswith("self.codec")
    assert codec.items == ("config.json",)


def test_the_config_decides(package: Path) -> None:
    given = named(package, config={"text": {"tokenizer": "org/mine"}, "codec_repo": "org/other", "kind": "large"})
    assert (given["org/mine"].config_path, given["org/mine"].default) == ("text.tokenizer", False)
    assert given["org/other"].config_path == "codec_repo"
    assert given["org/vocoder"].items == ("large.safetensors",)
    assert not {"org/otherwise", "org/codec-default", "org/tokenizer-default"} & given.keys()
    defaults = named(package, config={})
    assert defaults["org/codec-default"].default and defaults["org/tokenizer-default"].default
    assert "org/otherwise" in named(package, config={"text": {"tokenizer": ""}})


def test_what_may_be_missing(package: Path, tmp_path: Path) -> None:
    found = named(package, directory=tmp_path)
    assert (found["org/vocoder"].swallowed, found["org/judge"].swallowed) == (True, False)
    assert not found["extra.safetensors"].tested
    assert found["style.npz"].tested
    assert companions.state_of(found["extra.safetensors"], tmp_path) == "absent"


def test_a_repository_without_the_file_that_is_asked_for_is_partial(package: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--at-import" / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    companion = named(package)["org/at-import"]
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    assert companions.state_of(companion, None, environment) == "partial"
    (snapshot / "config.json").touch()
    assert companions.state_of(companion, None, environment) == "cached"
    assert companions.state_of(companion, None, {"HF_HUB_CACHE": str(tmp_path)}) == "not-cached"


def test_what_the_load_reached_for_is_laid_over(package: Path, tmp_path: Path) -> None:
    reach = {
        "m": "reach",
        "what": "hub",
        "stage": "construct",
        "file": "made_up.py",
        "line": 9,
        "outcome": "not-cached",
    }
    stage = {"m": "stage", "name": "construct", "status": "failed", "seconds": 0.0, "peak_memory": None}
    outcome = {"m": "outcome", "loads": False, "stage": "construct"}
    reached = [{**reach, "target": "org/codec-default"}, {**reach, "target": "org/unforeseen"}]
    memory = WorkingMemory()
    companions.collect(
        memory,
        describe(package, "tts", "made_up"),
        LoadRun().take([stage, *reached, outcome]),
        directory=tmp_path,
        model="org/model",
        started=True,
        offline_by_us=True,
        environ={"HF_HUB_CACHE": str(tmp_path)},
    )
    facts = {str(fact["name"]): fact for fact in memory.of("companion")}
    assert (facts["org/codec-default"]["found_by"], facts["org/codec-default"]["ahead"]) == ("both", False)
    assert facts["org/unforeseen"]["found_by"] == "live"
    assert facts["org/judge"]["ahead"] is True
    assert facts["org/at-import"]["ahead"] is False
    assert facts["org/aligner"]["ahead"] is False


def test_sources_that_cannot_be_read_have_none(package: Path) -> None:
    (package / "tts" / "models" / "made_up" / "made_up.py").write_text("def broken(:\n")
    assert describe(package, "tts", "made_up") == []
    assert describe(package, "tts", "absent") == []
