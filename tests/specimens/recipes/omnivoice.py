"""OmniVoice: PyTorch names, eight embeddings and heads in one tensor each; the codec in a directory of its own."""

import re
from pathlib import Path

from tests.specimens.codecs import higgs_codec, write_higgs_config
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    joined: Tensors = {}
    for name, (dtype, shape) in parameters.items():
        name = re.sub(r"^(audio_embeddings|audio_heads)\.\d+\.", r"\1.", name)
        rows = joined[name][1][0] if name in joined else 0
        joined[name] = (dtype, (rows + shape[0], *shape[1:]))
    joined["codebook_layer_offsets"] = ("I64", (config["num_audio_codebook"],))
    return {MAIN_FILE: renamed(joined, [(r"^backbone\.", "llm.")])}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)
    write_higgs_config(directory)


def _parts(directory: Path, config: Config) -> Files:
    return {f"audio_tokenizer/{MAIN_FILE}": higgs_codec()}


RECIPE = Recipe(
    name="OmniVoice-bfloat16",
    small={
        "audio_vocab_size": 65,
        "audio_mask_id": 64,
        "llm_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 64,
            "vocab_size": 64,
        },
    },
    layout=_layout,
    side_files=_side_files,
    parts=_parts,
)
