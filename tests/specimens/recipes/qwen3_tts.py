"""Qwen3-TTS: PyTorch's convolutions; the speech tokenizer is a directory of its own, in the layout of HF's Mimi.

The speech tokenizer tells layouts by comparing axes, so its small variant is not very small.
"""

import json
from pathlib import Path
from typing import Any

from tests.specimens.codecs import parameters_of
from tests.specimens.layouts import apply, conv, renamed, split
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer

_SMALL_DECODER = {
    "latent_dim": 128,
    "codebook_dim": 256,
    "codebook_size": 64,
    "decoder_dim": 1280,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def _speech_tokenizer(config: Config) -> dict[str, Any]:
    small = config["talker_config"]["hidden_size"] == 64
    sections = {"decoder_config": _SMALL_DECODER} if small else {"decoder_config": {}, "encoder_config": {}}
    return {"model_type": "qwen3_tts_tokenizer_12hz", **sections}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory, ["<|im_start|>", "<|im_end|>"])
    (directory / "speech_tokenizer").mkdir(exist_ok=True)
    (directory / "speech_tokenizer" / "config.json").write_text(json.dumps(_speech_tokenizer(config)), encoding="utf-8")
    (directory / "generation_config.json").write_text('{"temperature": 0.9, "top_k": 50}\n', encoding="utf-8")


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: apply(parameters, [conv(r"conv\d?\.weight$|speaker_encoder\.fc\.weight$")])}


def _joined_attention(name: str, tensor: Any) -> Tensors | None:
    if not name.endswith(".self_attn.in_proj.weight"):
        return None
    stem = name.removesuffix("in_proj.weight")
    return {f"{stem}{part}_proj.weight": split(tensor, 3) for part in "qkv"}


def _embedding(name: str, tensor: Any) -> Tensors | None:
    if not name.endswith(".codebook.embed.weight"):
        return None
    stem = name.removesuffix("codebook.embed.weight") + "_codebook."
    return {f"{stem}cluster_usage": (tensor[0], tensor[1][:1]), f"{stem}embedding_sum": tensor}


_NAMES = [
    (r"^encoder_model\.encoder\.init_conv1d\.conv\.", "encoder.encoder.layers.0."),
    (r"^encoder_model\.encoder\.final_conv1d\.conv\.", "encoder.encoder.layers.14."),
    *[
        (rf"^encoder_model\.encoder\.layers\.{i}\.downsample\.conv\.", f"encoder.encoder.layers.{n}.")
        for i, n in enumerate((3, 6, 9, 12))
    ],
    *[
        (
            rf"^encoder_model\.encoder\.layers\.{i}\.residuals\.0\.block\.{block}\.conv\.",
            f"encoder.encoder.layers.{n}.block.{index}.",
        )
        for i, n in enumerate((1, 4, 7, 10))
        for block, index in ((0, 1), (1, 3))
    ],
    (r"^encoder_model\.encoder_transformer\.transformer\.", "encoder.encoder_transformer."),
    (r"\.self_attn\.out_proj\.", ".self_attn.o_proj."),
    (r"\.gating\.linear([12])\.", r".mlp.fc\1."),
    (r"\.norm1\.", ".input_layernorm."),
    (r"\.norm2\.", ".post_attention_layernorm."),
    (r"\.layer_scale_1\.", ".self_attn_layer_scale."),
    (r"\.layer_scale_2\.", ".mlp_layer_scale."),
    (r"^encoder_model\.downsample\.conv\.conv\.", "encoder.downsample."),
    (r"^encoder_model\.quantizer\.rvq_first\.", "encoder.quantizer.semantic_residual_vector_quantizer."),
    (r"^encoder_model\.quantizer\.rvq_rest\.", "encoder.quantizer.acoustic_residual_vector_quantizer."),
    (r"^(encoder\.quantizer\..*)\.vq\.layers\.(\d+)\.codebook\.embedding_sum$", r"\1.layers.\2.codebook.embed_sum"),
    (r"^(encoder\.quantizer\..*)\.vq\.layers\.", r"\1.layers."),
]


def speech_tokenizer(given: dict[str, Any]) -> Tensors:
    """The checkpoint of a speech tokenizer with the sections ``given``."""
    from mlx_audio.tts.models.qwen3_tts.config import (
        Qwen3TTSTokenizerConfig,
        Qwen3TTSTokenizerDecoderConfig,
        Qwen3TTSTokenizerEncoderConfig,
    )
    from mlx_audio.tts.models.qwen3_tts.speech_tokenizer import Qwen3TTSSpeechTokenizer

    tokenizer = Qwen3TTSSpeechTokenizer(
        Qwen3TTSTokenizerConfig(
            decoder_config=Qwen3TTSTokenizerDecoderConfig(**given["decoder_config"]),
            encoder_config=Qwen3TTSTokenizerEncoderConfig() if "encoder_config" in given else None,
        )
    )
    rules = [
        _joined_attention,
        _embedding,
        conv(r"^decoder\.upsample\.\d+\.0\.conv\.weight$|^decoder\.decoder\.\d+\.block\.1\.conv\.weight$", (2, 0, 1)),
        conv(r"conv\.weight$|_proj\.weight$"),
    ]
    return renamed(apply(parameters_of(tokenizer), rules), _NAMES)


def _parts(directory: Path, config: Config) -> Files:
    return {f"speech_tokenizer/{MAIN_FILE}": speech_tokenizer(_speech_tokenizer(config))}


_LAYERS = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
}

RECIPE = Recipe(
    name="Qwen3-TTS-12Hz-0.6B-Base-bf16",
    small={
        "speaker_encoder_config": {
            "enc_dim": 64,
            "enc_channels": [128, 128, 128, 128, 384],
            "enc_res2net_scale": 2,
            "enc_se_channels": 128,
        },
        "talker_config": {
            **_LAYERS,
            "text_hidden_size": 64,
            "text_vocab_size": 64,
            "num_code_groups": 4,
            "code_predictor_config": {
                **_LAYERS,
                "num_code_groups": 4,
                "vocab_size": 64,
                "layer_types": ["full_attention"] * 2,
            },
        },
    },
    layout=_layout,
    side_files=_side_files,
    parts=_parts,
)
