"""Higgs Audio v2: names and layout of the model; the codec is a repository of its own."""

from pathlib import Path

from tests.specimens.codecs import HIGGS
from tests.specimens.recipe import Config, Recipe
from tests.specimens.tokenizers import write_tokenizer


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)


RECIPE = Recipe(
    name="higgs-audio-v2-3B-mlx-bf16",
    small={
        "text_config": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 128,
            "vocab_size": 64,
            "head_dim": 32,
        },
        "audio_codebook_size": 64,
        "audio_stream_bos_id": 64,
        "audio_stream_eos_id": 65,
        "audio_dual_ffn_layers": [0, 1],
    },
    side_files=_side_files,
    companions=(HIGGS,),
)
