"""Companion repositories with audio codecs, and tokenizers that live in repositories of their own.

Codecs that have a configuration of their own are small; Mimi's is fixed in mlx-audio, so it has its
real size. ``build`` functions run in the patient (``tests.specimens.generate``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.specimens.recipe import MAIN_FILE, Files, Repository, Tensors
from tests.specimens.tokenizers import write_bert_tokenizer, write_tokenizer


def tokenizer(repository: str, *tokens: str) -> Repository:
    """A repository that holds a fast tokenizer with the special ``tokens``."""

    def write(directory: Path) -> None:
        write_tokenizer(directory, tokens)
        # Of a repository on the hub, transformers asks for the model's type first.
        (directory / "config.json").write_text('{"model_type": "llama"}\n', encoding="utf-8")

    return Repository(repository, write)


def bert_tokenizer(repository: str) -> Repository:
    """A repository that holds a BertTokenizer."""
    return Repository(repository, write_bert_tokenizer)


def with_config(config: dict[str, Any]) -> Callable[[Path], None]:
    """What writes ``config`` as config.json."""

    def write(directory: Path) -> None:
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    return write


def parameters_of(module: Any) -> Tensors:
    """Names, types and shapes of an MLX module's parameters."""
    from tests.specimens.generate import tensors_of

    return tensors_of(module)


_SNAC = {
    "sampling_rate": 24000,
    "encoder_dim": 8,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 64,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "codebook_size": 64,
    "codebook_dim": 8,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}


def _snac() -> Files:
    from mlx_audio.codec.models.snac import SNAC

    return {MAIN_FILE: parameters_of(SNAC(**_SNAC))}


SNAC = Repository("mlx-community/snac_24khz", with_config(_SNAC), "codec.snac", _snac)

_DAC = {
    "encoder_dim": 8,
    "encoder_rates": [2, 4, 8, 8],
    "latent_dim": 32,
    "decoder_dim": 64,
    "decoder_rates": [8, 8, 4, 2],
    "n_codebooks": 9,
    "codebook_size": 64,
    "codebook_dim": 8,
    "sample_rate": 44100,
}


def _dac() -> Files:
    from mlx_audio.codec.models.descript import DAC

    return {MAIN_FILE: parameters_of(DAC(**_DAC))}


DAC = Repository("mlx-community/descript-audio-codec-44khz", with_config(_DAC), "codec.dac", _dac)


def mimi_checkpoint(parameters: Tensors) -> Tensors:
    """Mimi's PyTorch checkpoint for its MLX ``parameters``: what ``Mimi.load_pytorch_weights`` reads."""
    from tests.specimens.layouts import apply, conv, renamed

    checkpoint = apply(
        parameters,
        [
            conv(r"upsample\.convtr\.convtr\.convtr\.weight$"),  # depthwise: the swap of two axes
            conv(r"\.convtr\.weight$", (2, 0, 1)),
            conv(r"(\.conv|\.output_proj|\.input_proj)\.weight$"),
        ],
    )
    positions = {
        **{rf"^decoder\.layers\.{i}\.upsample\.": f"decoder.model.{n}." for i, n in enumerate((2, 5, 8, 11))},
        **{rf"^decoder\.layers\.{i}\.residuals\.0\.": f"decoder.model.{n}." for i, n in enumerate((3, 6, 9, 12))},
        **{rf"^encoder\.layers\.{i}\.residuals\.0\.": f"encoder.model.{n}." for i, n in enumerate((1, 4, 7, 10))},
        **{rf"^encoder\.layers\.{i}\.downsample\.": f"encoder.model.{n}." for i, n in enumerate((3, 6, 9, 12))},
    }
    return renamed(
        checkpoint,
        [
            (r"\.block\.1\.", ".block.3."),
            (r"\.block\.0\.", ".block.1."),
            *positions.items(),
            (r"^(encoder|decoder)\.init_conv1d\.", r"\1.model.0."),
            (r"^(encoder|decoder)\.final_conv1d\.", r"\1.model.14."),
            (r"\.in_proj\.weight$", ".in_proj_weight"),
            (r"\.gating\.linear", ".linear"),
            (r"\.codebook\.", "._codebook."),
            (r"\._codebook\.initialized$", "._codebook._initialized"),
        ],
    )


def _mimi() -> Files:
    from mlx_audio.codec.models.mimi.mimi import Mimi, mimi_202407

    return {"tokenizer-e351c8d8-checkpoint125.safetensors": mimi_checkpoint(parameters_of(Mimi(mimi_202407(32))))}


MIMI = Repository("kyutai/moshiko-pytorch-bf16", table="codec.mimi", build=_mimi)


def _s3_tokenizer() -> Files:
    from mlx_audio.codec.models.s3 import S3TokenizerV2

    return {MAIN_FILE: parameters_of(S3TokenizerV2("speech_tokenizer_v2_25hz"))}


S3_TOKENIZER = Repository("mlx-community/S3TokenizerV2", with_config({}), "codec.s3_tokenizer", _s3_tokenizer)


HIGGS_CODEC = {"model_type": "higgs_audio_v2_tokenizer", "codebook_size": 64}


def higgs_codec() -> Tensors:
    """The decoding half of the Higgs codec, in PyTorch's layout."""
    from mlx_audio.codec.models.higgs_audio.config import HiggsAudioConfig
    from mlx_audio.codec.models.higgs_audio.higgs_audio import HiggsAudioTokenizer

    from tests.specimens.layouts import apply, conv, renamed

    parameters = parameters_of(HiggsAudioTokenizer(HiggsAudioConfig.from_dict(HIGGS_CODEC)))
    torch = apply(parameters, [conv(r"conv_t\d\.weight$", (2, 0, 1)), conv(r"conv\d\.weight$|\.alpha$")])
    return renamed(torch, [(r"\.codebook\.weight$", ".codebook.embed")])


def write_higgs_config(directory: Path) -> None:
    """``audio_tokenizer/config.json`` of the Higgs codec."""
    (directory / "audio_tokenizer").mkdir(exist_ok=True)
    with_config(HIGGS_CODEC)(directory / "audio_tokenizer")


HIGGS = Repository(
    "mlx-community/higgs-audio-v2-tokenizer",
    write_higgs_config,
    "codec.higgs",
    lambda: {f"audio_tokenizer/{MAIN_FILE}": higgs_codec()},
)

_DACVAE = {
    "encoder_dim": 8,
    "encoder_rates": [2, 4],
    "latent_dim": 64,
    "decoder_dim": 64,
    "decoder_rates": [4, 2],
    "n_codebooks": 2,
    "codebook_size": 64,
    "codebook_dim": 32,
}


def _dacvae() -> Files:
    from mlx_audio.codec.models.dacvae import DACVAE, DACVAEConfig

    return {MAIN_FILE: parameters_of(DACVAE(DACVAEConfig(**_DACVAE)))}


def dacvae(repository: str) -> Repository:
    """A repository that holds a DACVAE codec."""
    return Repository(repository, with_config(_DACVAE), "codec.dacvae", _dacvae)


def fish_codec() -> Tensors:
    """The Fish codec, whose size is fixed: what it is loaded from, without what it folds itself."""
    from mlx_audio.codec.models.fish_s1_dac.fish_s1_dac import build_ae

    return {
        name: tensor
        for name, tensor in parameters_of(build_ae()).items()
        if not name.endswith(("causal_mask", ".conv.conv.weight", ".conv.conv.bias"))
    }
