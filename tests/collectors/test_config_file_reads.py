"""The config of a codec is followed through the ``from_pretrained`` that reads it: real codecs, and small ones."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.config import parse_config
from mlx_diagnose.collectors.config_difference import collect
from mlx_diagnose.collectors.sources import describe_source
from mlx_diagnose.engine.memory import WorkingMemory
from tests.specimens import codecs


def compared(folder: Path, family: str, config: dict[str, Any]) -> WorkingMemory:
    memory = WorkingMemory()
    document = parse_config(Path("/model"), json.dumps(config).encode())
    collect(memory, document, mlx_audio_dir=folder, category="codec", family=family)
    return memory


def family(tmp_path: Path, source: str) -> Path:
    """A folder mlx_audio with one codec, ``mine``."""
    package = tmp_path / "mlx_audio" / "codec" / "models" / "mine"
    package.mkdir(parents=True)
    for folder in (package, *package.parents[:3]):
        (folder / "__init__.py").touch()
    (package / "__init__.py").write_text(textwrap.dedent(source))
    return tmp_path / "mlx_audio"


def written(repository: Any, folder: Path) -> dict[str, Any]:
    repository.write(folder)
    return dict(json.loads((folder / "config.json").read_text()))


@pytest.mark.parametrize(
    ("name", "class_name", "unknown", "repository"),
    [
        ("snac", "SNAC", "rejected", codecs.SNAC),
        ("descript", "DAC", "dropped", codecs.DAC),
        ("dacvae", "DACVAEConfig", "rejected", codecs.dacvae("org/codec")),
    ],
)
def test_what_takes_the_config_of_a_codec_is_known(
    mlx_audio: Path, tmp_path: Path, name: str, class_name: str, unknown: str, repository: Any
) -> None:
    config = written(repository, tmp_path)
    memory = compared(mlx_audio, name, config)
    (taker,) = memory.of("config_class", section="")
    assert (taker["class_name"], taker["unknown_keys"]) == (class_name, unknown)
    assert not [fact for kind in ("unknown_key", "type_disagreement") for fact in memory.of(kind)]
    assert not memory.of("absent_key", required=True)

    config["decoderRates"] = config.pop("decoder_rates")
    (pair,) = compared(mlx_audio, name, config).of("key_similarity", best=True)
    assert (pair["given"], pair["wanted"]) == ("decoderRates", "decoder_rates")


def test_a_text_for_the_list_that_is_a_default_is_told(mlx_audio: Path, tmp_path: Path) -> None:
    config = {**written(codecs.SNAC, tmp_path), "encoder_rates": "2,4,8,8", "codebook_dim": 8.0}
    (found,) = compared(mlx_audio, "snac", config).of("type_disagreement")
    assert (found["path"], found["expected"], found["converted"]) == ("encoder_rates", "list", "[2, 4, 8, 8]")


@pytest.mark.parametrize(
    "reads",
    [
        'config = json.loads((Path(path) / "config.json").read_text())',
        'config = json.load(open(os.path.join(path, "config.json")))',
        'with (Path(path) / "config.json").open() as file:\n            config = json.load(file)',
        'config = json.load(open(hf_hub_download(path, "config.json")))',
        "config = load_config(path)",
        'config = cls.read(Path(path) / "config.json")',
    ],
)
def test_the_ways_to_read_the_file(tmp_path: Path, reads: str) -> None:
    source = f"""
class Codec:
    def __init__(self, width: int, depth: int = 2):
        pass

    @staticmethod
    def read(place):
        with open(place) as file:
            return json.load(file)

    @classmethod
    def from_pretrained(cls, path):
        {reads}
        return cls(**config)
"""
    (taker,) = describe_source(family(tmp_path, source), "codec", "mine")["classes"]
    assert (taker["class_name"], taker["sections"], taker["unknown_keys"]) == ("Codec", [""], "rejected")


@pytest.mark.parametrize(
    "reads",
    [
        'json.loads((Path(path) / "audio_tokenizer" / "config.json").read_text())',
        'json.load(open(os.path.join(path, "audio_tokenizer", "config.json")))',
        'json.loads((Path(path) / "model.safetensors.index.json").read_text())',
        'yaml.safe_load(open(Path(path) / "config.yaml"))',
    ],
)
def test_other_files_are_not_the_config(tmp_path: Path, reads: str) -> None:
    source = f"""
class Codec:
    def __init__(self, width: int, depth: int = 2):
        pass

    @classmethod
    def from_pretrained(cls, path):
        return cls(**{reads})
"""
    assert describe_source(family(tmp_path, source), "codec", "mine")["classes"] == []
