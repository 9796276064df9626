"""MOSS TTS Nano: tied heads are stored as well and dropped."""

from pathlib import Path

from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_sentencepiece


def _layout(parameters: Tensors, config: Config) -> Files:
    tied = {"text_lm_head.weight": parameters["transformer.wte.weight"]}
    return {MAIN_FILE: {**parameters, **tied}}


def _side_files(directory: Path, config: Config) -> None:
    write_sentencepiece(directory / "tokenizer.model")


RECIPE = Recipe(
    name="MOSS-TTS-Nano-100M",
    small={
        "gpt2_config": {"vocab_size": 64, "n_embd": 64, "n_layer": 2, "n_head": 2, "n_inner": 128},
        "n_vq": 4,
        "audio_codebook_sizes": [1024] * 4,
        "hidden_size": 64,
        "vocab_size": 64,
    },
    layout=_layout,
    side_files=_side_files,
)
