"""Fish Audio S2: a Qwen3 language model and an audio decoder, in the names of the original; the codec beside them."""

from pathlib import Path

from tests.specimens.codecs import fish_codec
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    names = [
        (r"^model\.(codebook_embeddings\.)", r"audio_decoder.\1"),
        (r"^model\.fast_", "audio_decoder."),
        (r"^model\.", "text_model.model."),
    ]
    return {MAIN_FILE: renamed(parameters, names), "codec.safetensors": fish_codec()}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory, [*(f"<|semantic:{number}|>" for number in range(4096)), "<|im_end|>"])


_LAYERS = {"n_head": 2, "dim": 64, "intermediate_size": 128, "n_local_heads": 1, "head_dim": 32}

RECIPE = Recipe(
    name="fish-audio-s2-pro",
    small={
        "text_config": {**_LAYERS, "n_layer": 2, "vocab_size": 4200},
        "audio_decoder_config": {**_LAYERS, "n_layer": 1, "text_dim": 64},
        "semantic_start_token_id": 4,
        "semantic_end_token_id": 4099,
    },
    layout=_layout,
    side_files=_side_files,
    slow=True,
)
