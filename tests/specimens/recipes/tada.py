"""TADA: declares itself a llama; the loader knows it by ``acoustic_dim``. Tokenizer and codec may be absent."""

from tests.specimens.codecs import tokenizer
from tests.specimens.layouts import apply, conv, renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = apply(
        parameters, [conv(r"wav_decoder\.model\.\d+\.block\.1\.weight$", (2, 0, 1)), conv(r"wav_decoder\..*weight$")]
    )
    names = [
        (r"\.(t_embedder\.mlp|adaLN_modulation)\.layers\.", r".\1."),
        (r"\.ffn_in\.", ".ffn.0."),
        (r"\.ffn_out\.", ".ffn.3."),
        (r"^decoder\.", "_decoder."),
    ]
    return {MAIN_FILE: renamed(checkpoint, names)}


RECIPE = Recipe(
    name="tada-1b",
    small={
        "vocab_size": 64,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "intermediate_size": 128,
        "acoustic_dim": 64,
        "head_layers": 1,
        "decoder_hidden_dim": 64,
        "decoder_d_model": 16,
        "decoder_embed_dim": 64,
        "decoder_strides": [2, 2],
        "decoder_num_attn_layers": 1,
        "decoder_num_attn_heads": 2,
        "decoder_attn_dim_feedforward": 128,
        "encoder_hidden_dim": 64,
        "encoder_d_model": 16,
        "encoder_embed_dim": 64,
        "encoder_strides": [2, 2],
        "encoder_num_attn_layers": 1,
        "encoder_num_attn_heads": 2,
        "encoder_attn_dim_feedforward": 128,
    },
    layout=_layout,
    companions=(tokenizer("meta-llama/Llama-3.2-1B-Instruct"),),
    absent=("HumeAI/tada-codec",),
)
