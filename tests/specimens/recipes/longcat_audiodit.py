"""LongCat AudioDiT: names and layout of the model."""

from tests.specimens.recipe import Recipe

RECIPE = Recipe(
    name="LongCat-AudioDiT-1B-bf16",
    small={
        "dit_dim": 64,
        "dit_depth": 2,
        "dit_heads": 2,
        "dit_ff_mult": 2.0,
        "dit_text_dim": 64,
        "vae_config": {"channels": 16, "c_mults": [1, 2], "strides": [2, 4], "encoder_latent_dim": 128},
        "text_encoder_config": {
            "vocab_size": 64,
            "d_model": 64,
            "d_kv": 32,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 2,
        },
    },
)
