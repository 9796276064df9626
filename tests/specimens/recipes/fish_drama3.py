"""Fish Drama 3: a Qwen3.5 mixture of experts and a tower over the codebooks; names of the model, and a codec."""

from pathlib import Path

from tests.specimens.codecs import fish_codec
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: parameters, "codec.safetensors": fish_codec()}


def _side_files(directory: Path, config: Config) -> None:
    codes = config["audio_decoder_config"]["vocab_size"]
    write_tokenizer(directory, [*(f"<|semantic:{number}|>" for number in range(codes)), "<|im_end|>"])


RECIPE = Recipe(
    name="fish-drama-3",
    small={
        "text_config": {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "vocab_size": 64,
            "linear_num_value_heads": 2,
            "linear_num_key_heads": 1,
            "linear_key_head_dim": 32,
            "linear_value_head_dim": 32,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "shared_expert_intermediate_size": 64,
            "moe_intermediate_size": 64,
            "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        },
        "audio_decoder_config": {
            "dim": 64,
            "n_head": 2,
            "n_local_heads": 1,
            "head_dim": 32,
            "intermediate_size": 128,
            "vocab_size": 8,
        },
        "semantic_end_token_id": 11,
        "eos_token_id": 12,
    },
    layout=_layout,
    side_files=_side_files,
    slow=True,
)
