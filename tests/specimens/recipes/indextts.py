"""IndexTTS: the PyTorch checkpoints of GPT and BigVGAN in one, told by ``num_batches_tracked``."""

from tests.specimens.layouts import Rule, apply, conv, permuted, renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Repository, Tensors
from tests.specimens.tokenizers import write_sentencepiece

_REPOSITORY = "mlx-community/IndexTTS"

_BIGVGAN = [
    (r"\.norm\.", ".norm.norm."),
    (r"\.conv\.", ".conv.conv."),
    (r"\.(conv[12])\.", r".\1.conv."),
    (r"\.fc\.", ".fc.conv."),
    (r"\.asp_bn\.", ".asp_bn.norm."),
]
_PERCEIVER = [
    (r"^perceiver_encoder\.norm\.weight$", "perceiver_encoder.norm.gamma"),
    (r"^(perceiver_encoder\.layers\.\d+\.0)\.linear_(q|kv|out)\.", r"\1.to_\2."),
    (r"^(perceiver_encoder\.layers\.\d+\.1)\.w_1\.", r"\1.0."),
    (r"^(perceiver_encoder\.layers\.\d+\.1)\.w_2\.", r"\1.2."),
]


def _keys_and_values() -> Rule:
    def rule(name: str, tensor: tuple[str, tuple[int, ...]]) -> Tensors | None:
        if not name.startswith("perceiver_encoder.layers."):
            return None
        if name.endswith(".linear_k.weight"):
            dtype, (rows, columns) = tensor
            return {name.replace("linear_k", "linear_kv"): (dtype, (2 * rows, columns))}
        return {} if name.endswith(".linear_v.weight") else None

    return rule


def _transposed(name: str, tensor: tuple[str, tuple[int, ...]]) -> Tensors | None:
    if name.startswith("gpt.h.") and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
        return {name: permuted(tensor, (1, 0))}
    return None


def _layout(parameters: Tensors, config: Config) -> Files:
    vocoder = {
        name.removeprefix("bigvgan."): tensor for name, tensor in parameters.items() if name.startswith("bigvgan.")
    }
    language_model = {name: tensor for name, tensor in parameters.items() if not name.startswith("bigvgan.")}
    vocoder = renamed(
        apply(vocoder, [conv(r"^ups\.", (2, 0, 1)), conv(r"conv|cond_layer|\.filter$|conds|fc")]), _BIGVGAN
    )
    counters: Tensors = {
        name.replace("running_mean", "num_batches_tracked"): ("I64", ())
        for name in vocoder
        if name.endswith("running_mean")
    }
    language_model = renamed(
        apply(language_model, [_keys_and_values(), _transposed, conv("conv"), conv("conv", (0, 3, 1, 2))]), _PERCEIVER
    )
    return {MAIN_FILE: {**language_model, **vocoder, **counters}}


RECIPE = Recipe(
    name="IndexTTS",
    small={
        "bigvgan": {"upsample_initial_channel": 128, "gpt_dim": 64, "speaker_embedding_dim": 64},
        "gpt": {
            "model_dim": 64,
            "heads": 2,
            "layers": 2,
            "number_text_tokens": 64,
            "condition_module": {"output_size": 64, "linear_units": 128, "attention_heads": 2, "num_blocks": 1},
        },
    },
    dtype="F32",
    layout=_layout,
    companions=(Repository(_REPOSITORY, lambda directory: write_sentencepiece(directory / "tokenizer.model")),),
)
