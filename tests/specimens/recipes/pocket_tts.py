"""Pocket TTS: a converted checkpoint, with names and layout of the model, and a sentencepiece tokenizer."""

from pathlib import Path

from tests.specimens.recipe import Config, Recipe
from tests.specimens.tokenizers import write_sentencepiece


def _side_files(directory: Path, config: Config) -> None:
    write_sentencepiece(directory / "tokenizer.model", config["flow_lm"]["lookup_table"]["n_bins"])


RECIPE = Recipe(
    name="pocket-tts",
    small={
        "flow_lm": {
            "flow": {"depth": 2, "dim": 64},
            "transformer": {"d_model": 64, "hidden_scale": 2, "num_heads": 2, "num_layers": 2},
            "lookup_table": {"dim": 64, "n_bins": 64},
        },
        "mimi": {
            "seanet": {"dimension": 64, "n_filters": 8},
            "transformer": {
                "d_model": 64,
                "input_dimension": 64,
                "output_dimensions": [64],
                "num_heads": 2,
                "num_layers": 1,
                "dim_feedforward": 128,
            },
            "quantizer": {"output_dimension": 64},
        },
    },
    dtype="F32",
    side_files=_side_files,
    needs=("requests",),
)
