"""Echo TTS: PyTorch names; a file of principal components beside the weights; the codec is swallowed when absent."""

from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    names = [(r"^model\.", ""), (r"^cond_module\.layers\.", "cond_module.")]
    state: Tensors = {
        "pca_components": ("F32", (config["dit"]["latent_size"], 1024)),
        "pca_mean": ("F32", (1024,)),
        "latent_scale": ("F32", ()),
    }
    return {MAIN_FILE: renamed(parameters, names), config["pca_filename"]: state}


RECIPE = Recipe(
    name="echo-tts-base",
    small={
        "dit": {
            "model_size": 128,
            "num_layers": 2,
            "num_heads": 2,
            "intermediate_size": 128,
            "text_model_size": 64,
            "text_num_layers": 1,
            "text_num_heads": 1,
            "text_intermediate_size": 128,
            "speaker_model_size": 64,
            "speaker_num_layers": 1,
            "speaker_num_heads": 1,
            "speaker_intermediate_size": 128,
            "timestep_embed_size": 64,
            "adaln_rank": 32,
        },
    },
    layout=_layout,
    absent=("jordand/fish-s1-dac-min",),
)
