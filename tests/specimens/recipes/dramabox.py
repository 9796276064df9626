"""Dramabox: two checkpoints, in names of LTX; the audio parts have sizes of their own and PyTorch's convolutions."""

import re

from tests.specimens.layouts import apply, conv, renamed
from tests.specimens.recipe import Config, Files, Recipe, Tensors

_NAMES = [
    (r"^text_conditioner\.audio_connector\.", "model.diffusion_model.audio_embeddings_connector."),
    (
        r"^text_conditioner\.feature_extractor\.audio_aggregate_embed\.",
        "text_embedding_projection.audio_aggregate_embed.",
    ),
    (r"^transformer\.", "model.diffusion_model."),
]


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = apply(
        parameters,
        [
            conv(r"^audio_vae\..*\.weight$", (0, 3, 1, 2)),
            conv(r"^vocoder\..*\.ups\.\d+\.weight$", (2, 0, 1)),
            conv(r"^vocoder\..*\.weight$"),
        ],
    )
    # Encoder and decoder share their statistics.
    shared = r"^audio_vae\.(encoder|decoder)\.per_channel_statistics\.(\w+)$"
    checkpoint = renamed(checkpoint, [(shared, r"audio_vae.per_channel_statistics.\2"), *_NAMES])
    components = {name: tensor for name, tensor in checkpoint.items() if re.match(r"audio_vae\.|vocoder\.", name)}
    return {
        "model-00001-of-00002.safetensors": {
            name: tensor for name, tensor in checkpoint.items() if name not in components
        },
        "model-00002-of-00002.safetensors": components,
    }


RECIPE = Recipe(
    name="ResembleAI-Dramabox",
    small={
        "text_encoder_hidden_size": 64,
        "transformer": {
            "num_layers": 2,
            "audio_num_attention_heads": 2,
            "audio_attention_head_dim": 32,
            "audio_cross_attention_dim": 64,
            "audio_connector_attention_head_dim": 32,
            "audio_connector_num_attention_heads": 2,
            "connector_num_layers": 1,
            "connector_num_learnable_registers": 8,
        },
    },
    layout=_layout,
)
