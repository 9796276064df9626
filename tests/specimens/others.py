"""Small models of families other than text-to-speech: what their classes want, as checkpoints that are holes.

Their tables are worked out by the installed classes when they are asked for, in one process for all of
:data:`CONFIGS`, not kept. A layout turns parameters into what the family's loader reads.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mlx_diagnose.engine.specimen import Tensor, write_safetensors
from tests.specimens.recipe import MAIN_FILE, Tensors

ROOT = Path(__file__).parents[2]

#: Config by category and family, with the name of the directory.
CONFIGS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("vad", "silero_vad"): ("silero-vad", {"model_type": "silero_vad", "branch_16k": {}, "branch_8k": {}}),
    ("vad", "smart_turn"): (
        "smart-turn-v3",
        {
            "model_type": "smart_turn",
            "encoder_config": {
                "d_model": 32,
                "encoder_attention_heads": 4,
                "encoder_layers": 2,
                "encoder_ffn_dim": 64,
            },
        },
    ),
    ("lid", "wav2vec2"): (
        "mms-lid-126",
        {
            "model_type": "wav2vec2",
            "architectures": ["Wav2Vec2ForSequenceClassification"],
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 12,
            "intermediate_size": 64,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
            "conv_dim": [32, 32],
            "conv_stride": [5, 2],
            "conv_kernel": [10, 3],
            "num_feat_extract_layers": 2,
            "classifier_proj_size": 16,
            "num_labels": 3,
        },
    ),
    ("sts", "mossformer2_se"): (
        "MossFormer2_SE_48K_MLX",
        {"win_len": 1920, "win_inc": 384, "num_mels": 60, "out_channels_final": 961, "num_blocks": 1},
    ),
    ("sts", "deepfilternet"): (
        "DeepFilterNet3",
        {"model_version": "DeepFilterNet3", "emb_hidden_dim": 64, "df_hidden_dim": 64, "conv_ch": 16},
    ),
    ("sts", "lfm_audio"): (
        "LFM2.5-Audio-1.5B",
        {
            "model_type": "lfm_audio",
            "encoder": {"n_layers": 1, "d_model": 32, "n_heads": 4, "subsampling_conv_channels": 16},
            "lfm": {
                "model_type": "lfm2",
                "vocab_size": 64,
                "hidden_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 512,
                "norm_eps": 1e-5,
                "conv_bias": False,
                "conv_L_cache": 3,
                "block_dim": 64,
                "block_ff_dim": 128,
                "block_multiple_of": 32,
                "block_ffn_dim_multiplier": 1.0,
                "block_auto_adjust_ff_dim": True,
                "full_attn_idxs": [1],
                "rope_theta": 1000000.0,
            },
            "depthformer": {"layers": 1, "dim": 64},
        },
    ),
}

_SCRIPT = """
import importlib, json, os, sys
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from tests.specimens.generate import tensors_of
found = {}
for category, family, config in json.loads(sys.argv[1]):
    module = importlib.import_module(f"mlx_audio.{category}.models.{family}")
    found[f"{category}/{family}"] = tensors_of(module.Model(module.ModelConfig.from_dict(config)))
json.dump(found, report)
"""


@cache
def _parameters() -> dict[str, Tensors]:
    asked = [[category, family, config] for (category, family), (_, config) in CONFIGS.items()]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(asked)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {
        key: {name: (dtype, tuple(shape)) for name, (dtype, shape) in table.items()}
        for key, table in json.loads(done.stdout).items()
    }


def write_other(
    category: str,
    family: str,
    directory: Path,
    *,
    config: Callable[[dict[str, Any]], object] = lambda config: None,
    tensors: Callable[[Tensors], object] = lambda tensors: None,
    name: str | None = None,
) -> Path:
    """Write a model of ``family`` under ``directory``; functions change its config and its checkpoint's tensors."""
    usual, settings = CONFIGS[category, family]
    path = directory / (name or usual)
    path.mkdir(parents=True)
    changed = json.loads(json.dumps(settings))
    config(changed)
    (path / "config.json").write_text(json.dumps(changed, indent=2) + "\n", encoding="utf-8")
    stored = _LAYOUTS.get(family, dict)(_parameters()[f"{category}/{family}"])
    tensors(stored)
    write_safetensors(path / MAIN_FILE, stored, metadata={"format": "pt"}, body="hole")
    return path


def _without_wrapper(parameters: Tensors) -> Tensors:
    return {name.removeprefix("model."): tensor for name, tensor in parameters.items()}


_GRU = {"Wx": "weight_ih", "Wh": "weight_hh", "b": "bias_ih", "bhn": "bias_hh"}


def _deepfilternet(parameters: Tensors) -> Tensors:
    """PyTorch's names, as ``mlx_audio/sts/models/deepfilternet/weight_loader.py`` reads them."""
    stored: Tensors = {}
    for name, (dtype, shape) in parameters.items():
        recurrent = re.fullmatch(r"model\.(.*)\.gru_layers\.(\d+)\.(Wx|Wh|b|bhn)", name)
        if recurrent is not None:
            owner, layer, part = recurrent.groups()
            rows = (3 * shape[0],) if part == "bhn" else shape
            stored[f"{owner}.gru.{_GRU[part]}_l{layer}"] = (dtype, rows)
            continue
        parts = name.removeprefix("model.").replace(".layers.", ".").replace(".pwconv.", ".1x1conv.").split(".")
        if re.fullmatch(r"erb_conv[123]|df_conv1", parts[1] if parts[0] == "enc" else "") and parts[2].isdecimal():
            parts[2] = str(int(parts[2]) - 1)
        stored[".".join(parts)] = (dtype, shape)
    return stored


def _turned(*endings: str) -> Callable[[Tensors], Tensors]:
    """The last two axes of convolutions with such names as PyTorch has them."""

    def layout(parameters: Tensors) -> Tensors:
        def stored(name: str, tensor: Tensor) -> Tensor:
            dtype, shape = tensor
            return (dtype, (shape[0], shape[2], shape[1])) if len(shape) == 3 and name.endswith(endings) else tensor

        return {name: stored(name, tensor) for name, tensor in parameters.items()}

    return layout


_LAYOUTS: dict[str, Callable[[Tensors], Tensors]] = {
    "mossformer2_se": _without_wrapper,
    "deepfilternet": _deepfilternet,
    "smart_turn": _turned("conv1.weight", "conv2.weight"),
    "wav2vec2": _turned("conv.weight", "conv.weight_v", "conv.weight_g"),
}
