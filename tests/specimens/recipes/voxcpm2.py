"""VoxCPM 2: as VoxCPM, with embeddings of the output's sample rate."""

from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.recipes.voxcpm import RECIPE as VOXCPM
from tests.specimens.recipes.voxcpm import layout, side_files


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = layout(parameters, config)[MAIN_FILE]
    blocks = len(config["audio_vae_config"]["decoder_rates"])
    names = [
        (rf"^(audio_vae\.decoder)\.sr_cond_layers\.{n}\.", rf"\1.sr_cond_model.{n + 2}.")
        for n in reversed(range(blocks))
    ]
    return {MAIN_FILE: renamed(checkpoint, names)}


RECIPE = Recipe(
    name="VoxCPM2-bf16",
    small={
        **VOXCPM.small,
        "audio_vae_config": {"encoder_dim": 8, "encoder_rates": [2, 5], "decoder_dim": 64, "decoder_rates": [8, 2]},
    },
    layout=_layout,
    side_files=side_files,
)
