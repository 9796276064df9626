"""Ming 3.0 TTS Tiny: PyTorch's short convolutions, every expert's tensors apart."""

from tests.specimens.layouts import apply, conv, experts_apart
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.recipes.dense import AUDIO, side_files


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: apply(parameters, [experts_apart, conv(r"[qkv]_conv1d\.weight$")])}


RECIPE = Recipe(
    name="Ming-3.0-tts-tiny-bf16",
    small={
        "llm_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "vocab_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 64,
            "moe_shared_expert_intermediate_size": 64,
            "q_lora_rank": 32,
            "kv_lora_rank": 32,
            "qk_nope_head_dim": 32,
            "qk_rope_head_dim": 32,
            "v_head_dim": 32,
        },
        "audio_config": AUDIO["audio_tokenizer_config"],
        "flow_config": {"hidden_size": 64, "depth": 2, "num_heads": 2},
        "aggregator_config": {"hidden_size": 64, "depth": 1, "num_heads": 2},
    },
    layout=_layout,
    side_files=side_files,
)
