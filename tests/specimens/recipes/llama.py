"""Orpheus: a plain Llama checkpoint; SNAC is fetched when the family's module is imported."""

from tests.specimens.codecs import SNAC, tokenizer
from tests.specimens.recipe import Recipe

RECIPE = Recipe(
    name="orpheus-3b-0.1-ft-bf16",
    small={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 64,
    },
    companions=(SNAC, tokenizer("mlx-community/orpheus-3b-0.1-ft-bf16")),
)
