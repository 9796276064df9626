"""Soprano: a Qwen3 language model and a Vocos decoder that is always 32-bit.

The decoder's size is not in config.json; the loader reads it from the directory's name.
"""

from pathlib import Path

from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: renamed(parameters, [(r"^language_model\.", "")])}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory, ["[STOP]", "[TEXT]", "[START]"])


RECIPE = Recipe(
    name="Soprano-80M-bf16",
    small={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 64,
    },
    dtype=lambda name: "F32" if name.startswith("decoder.") else "BF16",
    layout=_layout,
    side_files=_side_files,
)
