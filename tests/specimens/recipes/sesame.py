"""CSM: names of torchtune's Llama; tokenizer and Mimi are repositories of their own."""

from tests.specimens.codecs import MIMI, tokenizer
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    names = [
        (r"^model\.", ""),
        (r"\.self_attn\.o_proj\.", ".attn.output_proj."),
        (r"\.self_attn\.", ".attn."),
        (r"\.mlp\.gate_proj\.", ".mlp.w1."),
        (r"\.mlp\.down_proj\.", ".mlp.w2."),
        (r"\.mlp\.up_proj\.", ".mlp.w3."),
        (r"\.input_layernorm\.weight$", ".sa_norm.scale"),
        (r"\.post_attention_layernorm\.weight$", ".mlp_norm.scale"),
        (r"^(decoder|backbone)\.norm\.weight$", r"\1.norm.scale"),
    ]
    return {MAIN_FILE: renamed(parameters, names)}


_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
}

RECIPE = Recipe(
    name="csm-1b",
    small={
        **_LLAMA,
        "text_vocab_size": 64,
        "audio_num_codebooks": 4,
        "num_codebooks": 4,
        "depth_decoder_config": {**_LLAMA, "backbone_hidden_size": 64, "num_codebooks": 4},
    },
    dtype="F32",
    layout=_layout,
    companions=(tokenizer("unsloth/Llama-3.2-1B"), MIMI),
)
