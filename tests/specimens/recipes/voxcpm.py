"""VoxCPM: the audio VAE in PyTorch's layout (weight norm, numbered parts), rotary buffers left out."""

import re
from pathlib import Path

from tests.specimens.layouts import apply, conv, renamed, weight_norm
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer

_RESIDUAL = [(rf"\.{name}\.", f".block.{n}.") for n, name in enumerate(("snake1", "conv1", "snake2", "conv2"))]
_ENCODER = [
    (rf"^(encoder\.block\.\d+)\.{name}\.", rf"\1.block.{n}.")
    for n, name in enumerate(("res1", "res2", "res3", "snake", "conv"))
]
_DECODER = [
    (rf"^(decoder\.model\.\d+)\.{name}\.", rf"\1.block.{n}.")
    for n, name in enumerate(("snake", "conv_t", "res1", "res2", "res3"))
]


def audio_vae(parameters: Tensors, encoder_blocks: int, decoder_blocks: int) -> Tensors:
    """The VAE's PyTorch checkpoint for its MLX ``parameters`` (names without ``audio_vae.``)."""
    torch = apply(
        parameters,
        [conv(r"conv_t\.weight$", (2, 0, 1)), conv(r"(conv\w*|fc_mu|conv_in\.layers\.\d)\.weight$|\.alpha$")],
    )
    numbered = renamed(
        torch,
        [
            (r"^encoder\.conv_in\.", "encoder.block.0."),
            *[(rf"^encoder\.blocks\.layers\.{n}\.", f"encoder.block.{n + 1}.") for n in range(encoder_blocks)],
            *_ENCODER,
            (r"^decoder\.conv_in\.layers\.", "decoder.model."),
            *[(rf"^decoder\.blocks\.layers\.{n}\.", f"decoder.model.{n + 2}.") for n in range(decoder_blocks)],
            (r"^decoder\.snake_out\.", f"decoder.model.{decoder_blocks + 2}."),
            (r"^decoder\.conv_out\.", f"decoder.model.{decoder_blocks + 3}."),
            *_DECODER,
            *_RESIDUAL,
        ],
    )
    checkpoint: Tensors = {}
    for name, tensor in numbered.items():
        normed = name.endswith(".weight") and len(tensor[1]) == 3 and ".fc_" not in name
        checkpoint.update(weight_norm(name, tensor) if normed else {name: tensor})
    return checkpoint


def layout(parameters: Tensors, config: Config) -> Files:
    """Shared with VoxCPM 2."""
    prefix = "audio_vae."
    vae = {name.removeprefix(prefix): tensor for name, tensor in parameters.items() if name.startswith(prefix)}
    sizes = config["audio_vae_config"]
    checkpoint = {
        name: tensor
        for name, tensor in parameters.items()
        if not name.startswith(prefix) and not re.search(r"\.rope\.", name)
    }
    made = audio_vae(vae, len(sizes["encoder_rates"]), len(sizes["decoder_rates"]))
    return {MAIN_FILE: {**checkpoint, **{prefix + name: tensor for name, tensor in made.items()}}}


def side_files(directory: Path, config: Config) -> None:
    """Shared with VoxCPM 2."""
    write_tokenizer(directory)


RECIPE = Recipe(
    name="VoxCPM1.5",
    small={
        "lm_config": {
            "hidden_size": 128,
            "intermediate_size": 128,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "num_key_value_heads": 1,
            "vocab_size": 64,
        },
        "scalar_quantization_latent_dim": 32,
        "residual_lm_num_layers": 1,
        "encoder_config": {"hidden_dim": 128, "ffn_dim": 128, "num_heads": 2, "num_layers": 1},
        "dit_config": {"hidden_dim": 128, "ffn_dim": 128, "num_heads": 2, "num_layers": 1},
        "audio_vae_config": {"encoder_dim": 8, "encoder_rates": [2, 3], "decoder_dim": 64, "decoder_rates": [3, 2]},
    },
    layout=layout,
    side_files=side_files,
)
