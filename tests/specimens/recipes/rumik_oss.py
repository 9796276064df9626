"""Rumik: a Cohere language model with a stop predictor; tokenizer and codec are fetched when it speaks."""

from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = renamed(parameters, [(r"^stop_predictor\.layers\.", "stop_predictor.")])
    return {MAIN_FILE: {**checkpoint, "lm_head.weight": parameters["model.embed_tokens.weight"]}}


RECIPE = Recipe(
    name="rumik-oss",
    small={
        "hidden_size": 64,
        "head_dim": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 64,
    },
    layout=_layout,
)
