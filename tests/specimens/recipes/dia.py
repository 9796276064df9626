"""Dia: names and layout of the model; the codec is a repository of its own."""

from tests.specimens.codecs import DAC
from tests.specimens.recipe import Recipe

RECIPE = Recipe(
    name="Dia-1.6B",
    small={
        "model": {
            "encoder": {"n_layer": 2, "n_embd": 64, "n_hidden": 128, "n_head": 2, "head_dim": 64},
            "decoder": {
                "n_layer": 2,
                "n_embd": 64,
                "n_hidden": 128,
                "gqa_query_heads": 2,
                "cross_query_heads": 2,
                "kv_heads": 1,
                "gqa_head_dim": 64,
                "cross_head_dim": 64,
            },
        },
    },
    dtype="F32",
    module=lambda model: model.model,
    companions=(DAC,),
)
