"""Kokoro: PyTorch's convolutions, LSTM names and layer-norm names."""

from tests.specimens.layouts import apply, conv, renamed
from tests.specimens.recipe import Config, Files, Recipe, Tensors

_LSTM = [
    (r"\.Wx_forward$", ".weight_ih_l0"),
    (r"\.Wh_forward$", ".weight_hh_l0"),
    (r"\.Wx_backward$", ".weight_ih_l0_reverse"),
    (r"\.Wh_backward$", ".weight_hh_l0_reverse"),
    (r"\.bias_(ih|hh)_forward$", r".bias_\1_l0"),
    (r"\.bias_(ih|hh)_backward$", r".bias_\1_l0_reverse"),
]


def _layout(parameters: Tensors, config: Config) -> Files:
    checkpoint = apply(
        parameters,
        [conv(r"weight_v$|noise_convs\.\d+\.weight$|(F0|N)_proj\.weight$")],
    )
    norm = r"^(text_encoder\.cnn\.\d+\.1)"
    norms = [(rf"{norm}\.weight$", r"\1.gamma"), (rf"{norm}\.bias$", r"\1.beta")]
    return {"kokoro-v1_0.safetensors": renamed(checkpoint, [*_LSTM, *norms])}


RECIPE = Recipe(
    name="Kokoro-82M-bf16",
    small={
        "hidden_dim": 64,
        "style_dim": 64,
        "n_layer": 2,
        "n_token": 178,
        "max_conv_dim": 64,
        "istftnet": {"upsample_initial_channel": 64},
        "plbert": {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "num_hidden_layers": 2},
    },
    layout=_layout,
)
