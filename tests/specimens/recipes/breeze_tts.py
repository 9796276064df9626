"""Breeze TTS: tied embeddings stored once; the codec is Qwen3-TTS's speech tokenizer in a directory of its own."""

import json
from pathlib import Path

from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.recipes import qwen3_tts
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    tied = "backbone_model.embed_tokens.embed_audio_tokens.weight"
    return {MAIN_FILE: {name: tensor for name, tensor in parameters.items() if name != tied}}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)
    (directory / "audio_tokenizer").mkdir(exist_ok=True)
    sections = {"decoder_config": {}, "encoder_config": {}}
    (directory / "audio_tokenizer" / "config.json").write_text(json.dumps(sections), encoding="utf-8")


def _parts(directory: Path, config: Config) -> Files:
    return {f"audio_tokenizer/{MAIN_FILE}": qwen3_tts.speech_tokenizer({"decoder_config": {}, "encoder_config": {}})}


_LAYERS = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
}

RECIPE = Recipe(
    name="Breeze-TTS-2",
    small={
        **_LAYERS,
        "text_vocab_size": 64,
        "audio_token_id": 60,
        "audio_eos_token_id": 61,
        "num_codebooks": 4,
        "backbone_config": {**_LAYERS, "vocab_size": 64},
        "depth_decoder_config": {**_LAYERS, "backbone_hidden_size": 64, "num_codebooks": 4},
        "text_encoder_config": {**_LAYERS, "vocab_size": 64},
    },
    layout=_layout,
    side_files=_side_files,
    parts=_parts,
)
