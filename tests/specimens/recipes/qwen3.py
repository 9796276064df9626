"""VyvoTTS: a plain Qwen3 checkpoint; SNAC is fetched when the family's module is imported."""

from pathlib import Path

from tests.specimens.codecs import SNAC
from tests.specimens.recipe import Config, Recipe
from tests.specimens.tokenizers import write_tokenizer


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)


RECIPE = Recipe(
    name="VyvoTTS-EN-Beta",
    small={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 64,
    },
    side_files=_side_files,
    companions=(SNAC,),
)
