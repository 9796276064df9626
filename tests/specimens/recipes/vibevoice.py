"""VibeVoice (streaming): PyTorch's convolutions, the prefix ``model.``, numbered parts of Sequential modules."""

import json
from pathlib import Path

from tests.specimens.codecs import tokenizer
from tests.specimens.layouts import apply, conv, renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors

_TEXT_MODEL = "Qwen/Qwen2.5-0.5B"


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = apply(parameters, [conv(r"\.convtr\.weight$", (2, 0, 1)), conv(r"\.conv\.weight$")])
    names = [(r"\.(t_embedder\.mlp|adaLN_modulation)\.layers\.", r".\1."), (r"^(?!tts_eos_classifier)", "model.")]
    return {MAIN_FILE: renamed(checkpoint, names)}


def _side_files(directory: Path, config: Config) -> None:
    settings = {"processor_class": "VibeVoiceStreamingProcessor", "language_model_pretrained_name": _TEXT_MODEL}
    (directory / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")


RECIPE = Recipe(
    name="VibeVoice-Realtime-0.5B",
    small={
        "acoustic_tokenizer_config": {
            "encoder_depths": "1-1-1",
            "encoder_ratios": [4, 2],
            "encoder_n_filters": 8,
            "decoder_ratios": [4, 2],
            "decoder_n_filters": 8,
        },
        "decoder_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 64,
        },
        "diffusion_head_config": {"hidden_size": 64, "head_layers": 1},
        "tts_backbone_num_hidden_layers": 2,
    },
    layout=_layout,
    side_files=_side_files,
    companions=(tokenizer(_TEXT_MODEL, "<|vision_start|>", "<|vision_end|>"),),
)
