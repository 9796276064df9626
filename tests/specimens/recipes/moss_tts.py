"""MOSS TTS: a Qwen3 language model with a head a codebook, under ``model.``."""

from pathlib import Path

from tests.specimens.layouts import prefixed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: prefixed(parameters, "model.")}


def side_files(directory: Path, config: Config) -> None:
    """Shared with the other MOSS models."""
    write_tokenizer(directory)


#: Small sections of all MOSS models.
SMALL = {
    "n_vq": 4,
    "language_config": {
        "vocab_size": 64,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    },
}

RECIPE = Recipe(name="MOSS-TTS-v1.5", small=SMALL, layout=_layout, side_files=side_files)
