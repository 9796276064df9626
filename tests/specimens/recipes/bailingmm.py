"""Ming Omni TTS, mixture of experts: every expert's tensors apart, the router under its old name."""

from tests.specimens.layouts import apply, experts_apart, renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.recipes.dense import AUDIO, side_files


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = apply(parameters, [experts_apart])
    return {MAIN_FILE: renamed(checkpoint, [(r"\.mlp\.gate\.gate_proj\.", ".mlp.gate.")])}


RECIPE = Recipe(
    name="Ming-omni-tts-16.8B-A3B-bf16",
    small={
        "llm_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "moe_intermediate_size": 64,
            "num_experts": 4,
            "num_shared_experts": 1,
            "num_experts_per_tok": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "num_hidden_layers": 2,
            "vocab_size": 64,
        },
        **AUDIO,
    },
    layout=_layout,
    side_files=side_files,
)
