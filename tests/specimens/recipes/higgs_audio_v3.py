"""Higgs Audio v3: names of the original (``tied.*``, ``body.*``); the codec in a directory of its own."""

from pathlib import Path

from tests.specimens.codecs import higgs_codec, write_higgs_config
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    names = [
        (r"^backbone\.embed_tokens\.", "tied.embedding.text_embedding."),
        (r"^backbone\.", "body."),
        (r"^multimodal_embedding\.", "tied.embedding.modality_embeddings.0.embedding."),
    ]
    return {MAIN_FILE: renamed(parameters, names)}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory, ["<|endoftext|>", "<|tts|>", "<|ref_audio|>", "<|text|>", "<|audio|>"])
    write_higgs_config(directory)


def _parts(directory: Path, config: Config) -> Files:
    return {f"audio_tokenizer/{MAIN_FILE}": higgs_codec()}


RECIPE = Recipe(
    name="higgs-audio-v3-tts-4b",
    small={
        "text_config": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "intermediate_size": 128,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "vocab_size": 64,
        },
        "audio_codebook_size": 66,
        "audio_boc_token_id": 64,
        "audio_eoc_token_id": 65,
    },
    layout=_layout,
    side_files=_side_files,
    parts=_parts,
)
