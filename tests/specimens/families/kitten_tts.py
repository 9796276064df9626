"""KittenTTS: names and layout of the model; an older export writes ``alpha1.0`` for ``alpha1_0``."""

from tests.specimens.recipe import Recipe

RECIPE = Recipe(
    name="kitten-tts-nano-0.8-fp16",
    small={
        "hidden_dim": 64,
        "max_conv_dim": 64,
        "style_dim": 64,
        "asr_res_dim": 32,
        "istftnet": {"upsample_initial_channel": 64},
        "plbert": {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 128},
    },
    dtype="F16",
)
