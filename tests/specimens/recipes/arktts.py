"""Audio8 TTS: a converted checkpoint, with names and layout of the model; the codec is in it."""

from tests.specimens.recipe import Recipe

RECIPE = Recipe(
    name="Audio8-TTS-Preview-0.6b-bf16",
    small={
        "vocab_size": 128,
        "dim": 64,
        "n_layer": 2,
        "n_head": 2,
        "n_local_heads": 1,
        "head_dim": 32,
        "intermediate_size": 128,
        "codebook_size": 32,
        "num_codebooks": 4,
        "semantic_begin_id": 64,
        "semantic_end_id": 95,
        "n_fast_layer": 1,
        "fast_dim": 64,
        "fast_n_head": 2,
        "fast_n_local_heads": 1,
        "fast_head_dim": 32,
        "fast_intermediate_size": 128,
    },
)
