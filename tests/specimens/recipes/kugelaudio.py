"""KugelAudio: PyTorch's convolutions, the prefix ``model.``, numbered parts of Sequential modules.

``sanitize`` transposes every convolution, whatever its layout.
"""

from tests.specimens.codecs import tokenizer
from tests.specimens.layouts import apply, conv, renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = apply(parameters, [conv(r"convtr\.weight$", (2, 0, 1)), conv(r"")])
    names = [(r"(t_embedder\.mlp|adaLN_modulation)\.layers\.", r"\1."), (r"^(?!lm_head\.)", "model.")]
    return {MAIN_FILE: renamed(checkpoint, names)}


RECIPE = Recipe(
    name="kugelaudio-0-open",
    small={
        "acoustic_tokenizer_config": {
            "encoder_depths": "1-1-1",
            "encoder_ratios": [4, 2],
            "encoder_n_filters": 8,
            "decoder_n_filters": 8,
        },
        "decoder_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": 64,
        },
        "diffusion_head_config": {"hidden_size": 64, "head_layers": 1},
    },
    layout=_layout,
    companions=(tokenizer("Qwen/Qwen2.5-7B"), tokenizer("Qwen/Qwen2.5-1.5B")),
)
