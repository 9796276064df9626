"""Voxtral TTS: Mistral's names, in one file; a Hugging Face tokenizer, as a tekken one needs mistral-common."""

from pathlib import Path

from tests.specimens.layouts import renamed
from tests.specimens.recipe import Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer

_NAMES = [
    (r"^language_model\.model\.model\.embed_tokens\.", "mm_audio_embeddings.tok_embeddings."),
    (r"^language_model\.model\.model\.", ""),
    (r"^audio_codebook_embeddings\.", "mm_audio_embeddings.audio_codebook_embeddings."),
    (r"^(layers\.\d+)\.self_attn\.([qkvo])_proj\.", r"\1.attention.w\2."),
    (r"^(layers\.\d+)\.mlp\.gate_proj\.", r"\1.feed_forward.w1."),
    (r"^(layers\.\d+)\.mlp\.down_proj\.", r"\1.feed_forward.w2."),
    (r"^(layers\.\d+)\.mlp\.up_proj\.", r"\1.feed_forward.w3."),
    (r"^(layers\.\d+)\.input_layernorm\.", r"\1.attention_norm."),
    (r"^(layers\.\d+)\.post_attention_layernorm\.", r"\1.ffn_norm."),
]


def _layout(parameters: Tensors, config: Config) -> Files:
    return {"consolidated.safetensors": renamed(parameters, _NAMES)}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)


RECIPE = Recipe(
    name="Voxtral-4B-TTS-2603",
    small={
        "dim": 64,
        "n_layers": 2,
        "head_dim": 32,
        "hidden_dim": 128,
        "n_heads": 2,
        "n_kv_heads": 1,
        "vocab_size": 64,
        "semantic_codebook_size": 64,
        "acoustic_dim": 64,
        "acoustic_n_layers": 1,
        "acoustic_head_dim": 32,
        "acoustic_hidden_dim": 128,
        "acoustic_n_heads": 2,
        "acoustic_n_kv_heads": 1,
        "tokenizer_dim": 64,
        "tokenizer_hidden_dim": 128,
        "tokenizer_n_heads": 2,
        "tokenizer_n_kv_heads": 2,
        "tokenizer_head_dim": 32,
        "tokenizer_decoder_transformer_lengths_str": "1,1,1,1",
    },
    layout=_layout,
    side_files=_side_files,
)
