"""MOSS TTS with a local transformer (GPT-2) over the codebooks: names of the model."""

from tests.specimens.recipe import Recipe
from tests.specimens.recipes.moss_tts import SMALL, side_files

RECIPE = Recipe(
    name="MOSS-TTS-Local-Transformer-v1.5",
    small={**SMALL, "gpt2_config": {"vocab_size": 64, "n_embd": 64, "n_head": 2, "n_inner": 128}},
    side_files=side_files,
)
