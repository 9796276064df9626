"""Irodori TTS: PyTorch names, numbered parts of Sequential modules; the codec is a repository of its own."""

from tests.specimens.codecs import dacvae
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    names = [(r"^model\.", ""), (r"^(\w*cond_module)\.layers\.", r"\1.")]
    return {MAIN_FILE: renamed(parameters, names)}


RECIPE = Recipe(
    name="Irodori-TTS-500M-v2-fp16",
    small={
        "dit": {
            "model_dim": 64,
            "num_layers": 2,
            "num_heads": 2,
            "text_vocab_size": 64,
            "text_dim": 64,
            "text_layers": 1,
            "text_heads": 2,
            "speaker_dim": 64,
            "speaker_layers": 1,
            "speaker_heads": 2,
            "timestep_embed_dim": 64,
            "adaln_rank": 16,
        },
    },
    dtype="F16",
    layout=_layout,
    companions=(dacvae("Aratako/Semantic-DACVAE-Japanese-32dim"),),
)
