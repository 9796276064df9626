"""MeloTTS: a checkpoint that mlx-audio converted: weight norm merged, convolutions transposed, old names of flows."""

from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: renamed(parameters, [(r"^flow_layers\.", "flow.flows.")])}


RECIPE = Recipe(
    name="MeloTTS-English-MLX",
    small={
        "filter_length": 64,
        "n_speakers": 4,
        "inter_channels": 64,
        "hidden_channels": 64,
        "filter_channels": 64,
        "n_layers": 1,
        "n_layers_trans_flow": 1,
        "upsample_initial_channel": 64,
        "gin_channels": 64,
        "bert_hidden_size": 64,
    },
    dtype="F32",
    layout=_layout,
)
