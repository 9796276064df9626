"""KittenTTS: names and layout of the model; an older export writes ``alpha1.0`` for ``alpha1_0``."""

from pathlib import Path

from tests.specimens.arrays import write_npz
from tests.specimens.recipe import Config, Recipe


def _side_files(directory: Path, config: Config) -> None:
    style = 2 * config["style_dim"]
    write_npz(directory / config["voices_path"], dict.fromkeys(config["voice_aliases"].values(), (1, style)))


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
    side_files=_side_files,
)
