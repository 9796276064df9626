"""Which mutants make sense of which family: kinds of ``tests.specimens.mutants`` with their options.

``UNIVERSAL`` fits every family. ``TOLERATED`` names what a family's loader was seen to load all
the same, so that there is nothing to diagnose but warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.specimens.mutants import Mutant, mutate, quantised
from tests.specimens.recipe import Specimen

Case: TypeAlias = tuple[str, Mapping[str, Any]]

UNIVERSAL: tuple[Case, ...] = (
    ("config-absent", {}),
    ("config-invalid", {}),
    ("config-list", {}),
    ("config-nested", {}),
    ("model-type-unknown", {}),
    ("weights-absent", {}),
    ("pytorch-only", {}),
    ("lfs-pointer", {}),
    ("truncated", {}),
    ("header-garbage", {}),
    ("shard-missing", {}),
    ("tensor-dropped", {}),
    ("tensor-extra", {}),
    ("tensor-renamed", {}),
    ("shape-changed", {}),
    ("prefix-added", {"prefix": "module."}),
)

_JOINED: tuple[Case, ...] = (
    ("projections-joined", {"whole": "qkv_proj"}),
    ("projections-joined", {"whole": "gate_up_proj"}),
)

_QWEN3: tuple[Case, ...] = (
    *_JOINED,
    ("key-missing", {"path": "num_hidden_layers"}),
    ("key-renamed", {"path": "hidden_size", "to": "n_embd"}),
    ("key-renamed", {"path": "num_attention_heads", "to": "n_heads"}),
    ("type-changed", {"path": "hidden_size", "value": "64"}),
    ("value-changed", {"path": "hidden_size", "value": 128}),
    ("value-changed", {"path": "intermediate_size", "value": 192}),
    ("value-changed", {"path": "num_hidden_layers", "value": 3}),
    ("value-changed", {"path": "num_hidden_layers", "value": 1}),
    ("value-changed", {"path": "vocab_size", "value": 65}),
    ("value-changed", {"path": "head_dim", "value": 32}),
    ("model-type-other", {"value": "kokoro"}),
)

OF_FAMILY: Mapping[str, tuple[Case, ...]] = {
    "soprano": (*_QWEN3, ("prefix-removed", {"prefix": "model."}), ("side-file-missing", {"file": "tokenizer.json"})),
    "qwen3": (*_QWEN3, ("companion-missing", {"repository": "mlx-community/snac_24khz"})),
    "llama": (
        *_JOINED,
        ("key-missing", {"path": "num_hidden_layers"}),
        ("value-changed", {"path": "intermediate_size", "value": 192}),
        ("companion-missing", {"repository": "mlx-community/snac_24khz"}),
        ("companion-missing", {"repository": "mlx-community/orpheus-3b-0.1-ft-bf16"}),
    ),
    "kokoro": (
        ("key-missing", {"path": "n_token"}),
        ("key-missing", {"path": "plbert.hidden_size"}),
        ("key-renamed", {"path": "hidden_dim", "to": "hidden_size"}),
        ("key-renamed", {"path": "istftnet.upsample_rates", "to": "upsampling_rates"}),
        ("key-unknown", {"path": "istftnet.gen_istft_win_size", "value": 20}),
        ("section-missing", {"path": "istftnet"}),
        ("section-missing", {"path": "plbert"}),
        ("value-changed", {"path": "style_dim", "value": 128}),
        ("value-changed", {"path": "n_layer", "value": 3}),
        ("value-changed", {"path": "plbert.intermediate_size", "value": 256}),
        ("type-changed", {"path": "hidden_dim", "value": "64"}),
        ("mlx-layout", {}),
    ),
    "kitten_tts": (
        ("key-missing", {"path": "asr_res_dim"}),
        ("section-missing", {"path": "plbert"}),
        ("value-changed", {"path": "max_conv_dim", "value": 128}),
        ("directory-named", {"name": "bark-mini"}),
    ),
    "dia": (
        ("key-missing", {"path": "model.encoder.n_layer"}),
        ("key-unknown", {"path": "model.encoder.n_layers", "value": 2}),
        ("section-missing", {"path": "model.decoder"}),
        ("value-changed", {"path": "model.decoder.n_embd", "value": 128}),
        ("companion-missing", {"repository": "mlx-community/descript-audio-codec-44khz"}),
    ),
    "sesame": (
        ("key-missing", {"path": "depth_decoder_config.hidden_size"}),
        ("value-changed", {"path": "audio_vocab_size", "value": 100}),
        ("value-changed", {"path": "depth_decoder_config.num_hidden_layers", "value": 3}),
        ("companion-missing", {"repository": "kyutai/moshiko-pytorch-bf16"}),
        ("companion-missing", {"repository": "unsloth/Llama-3.2-1B"}),
        ("mlx-layout", {}),
    ),
    "bark": (
        ("section-missing", {"path": "semantic_config"}),
        ("value-changed", {"path": "coarse_acoustics_config.n_embd", "value": 128}),
        ("companion-missing", {"repository": "bert-base-multilingual-cased"}),
    ),
    "voxcpm": (
        ("key-unknown", {"path": "lm_config.num_experts", "value": 8}),
        ("key-renamed", {"path": "encoder_config.num_layers", "to": "n_layers"}),
        ("value-changed", {"path": "lm_config.intermediate_size", "value": 256}),
        ("value-changed", {"path": "audio_vae_config.decoder_dim", "value": 128}),
        ("convolution-transposed", {"name": "audio_vae.encoder.fc_mu.weight"}),
        ("mlx-layout", {}),
    ),
    "vibevoice": (
        ("key-missing", {"path": "diffusion_head_config.hidden_size", "failure_class": "config/wrong-default"}),
        ("value-changed", {"path": "decoder_config.hidden_size", "value": 128}),
        ("value-changed", {"path": "tts_backbone_num_hidden_layers", "value": 1}),
        ("companion-missing", {"repository": "Qwen/Qwen2.5-0.5B"}),
        ("mlx-layout", {}),
    ),
    "qwen3_tts": (
        ("key-missing", {"path": "talker_config.num_hidden_layers", "failure_class": "config/wrong-default"}),
        ("value-changed", {"path": "talker_config.hidden_size", "value": 128}),
        ("value-changed", {"path": "talker_config.code_predictor_config.num_hidden_layers", "value": 1}),
        ("value-changed", {"path": "tts_model_type", "value": "custom_voice"}),
        ("side-file-missing", {"file": "speech_tokenizer"}),
        ("mlx-layout", {}),
    ),
    "kugelaudio": (("mlx-layout", {}), ("value-changed", {"path": "diffusion_head_config.head_layers", "value": 2})),
    "tada": (
        ("mlx-layout", {}),
        ("key-missing", {"path": "acoustic_dim", "failure_class": "config/wrong-default"}),
    ),
    "chatterbox": (
        ("key-unknown", {"path": "t3_config.n_channels", "value": 1024}),
        ("companion-missing", {"repository": "mlx-community/S3TokenizerV2"}),
    ),
    "omnivoice": (
        ("value-changed", {"path": "llm_config.hidden_size", "value": 128}),
        ("side-file-missing", {"file": "audio_tokenizer"}),
    ),
    "higgs_audio": (
        ("value-changed", {"path": "audio_codebook_size", "value": 32}),
        ("companion-missing", {"repository": "mlx-community/higgs-audio-v2-tokenizer"}),
    ),
    "irodori_tts": (
        ("value-changed", {"path": "dit.model_dim", "value": 128}),
        ("value-changed", {"path": "dit.flow_parameterization", "value": "meanflow"}),
        ("companion-missing", {"repository": "Aratako/Semantic-DACVAE-Japanese-32dim"}),
    ),
    "melotts": (("value-changed", {"path": "n_vocab", "value": 112}),),
    "indextts": (
        ("key-missing", {"path": "gpt.layers"}),
        ("section-missing", {"path": "bigvgan"}),
        ("value-changed", {"path": "gpt.condition_type", "value": "perceiver"}),
    ),
    "moss_tts": (("section-missing", {"path": "language_config"}),),
    "dense": (("section-missing", {"path": "ditar_config"}),),
    "lingv3_tts": (
        ("section-missing", {"path": "audio_config"}),
        ("value-changed", {"path": "tts_config.audio_start_token_id", "value": 9}),
    ),
    "higgs_audio_v3": (("side-file-missing", {"file": "tokenizer.json"}),),
    "pocket_tts": (("value-changed", {"path": "flow_lm.lookup_table.n_bins", "value": 100}),),
}

#: Of specimens that :func:`quantised` makes.
OF_QUANTISED: Mapping[str, tuple[Case, ...]] = {
    family: (
        ("quantization-undeclared", {}),
        ("quantization-bits", {"bits": 8}),
        ("quantization-group-size", {"group_size": 32}),
        ("quantization-without-bits", {}),
        ("scales-dropped", {}),
    )
    for family in ("soprano", "qwen3", "llama", "outetts", "vibevoice")
}


#: What loads all the same, by family: kinds whose damage is dropped, mended or not looked at.
TOLERATED: Mapping[str, frozenset[str]] = {
    "bailingmm": frozenset({"tensor-extra"}),
    "bark": frozenset({"companion-missing"}),
    "chatterbox": frozenset({"shard-missing", "tensor-dropped", "tensor-renamed", "shape-changed"}),
    "chatterbox_turbo": frozenset(
        {"shard-missing", "tensor-dropped", "tensor-extra", "tensor-renamed", "shape-changed", "prefix-added"}
    ),
    "confucius4": frozenset({"tensor-dropped", "shape-changed"}),
    "dense": frozenset({"tensor-extra"}),
    "irodori_tts": frozenset({"companion-missing"}),
    "kokoro": frozenset({"tensor-extra"}),
    "kugelaudio": frozenset({"tensor-extra"}),
    "qwen3_tts": frozenset({"side-file-missing", "mlx-layout"}),
    "sesame": frozenset({"mlx-layout"}),
    "soprano": frozenset({"prefix-removed"}),
    "vibevoice": frozenset({"tensor-extra", "mlx-layout"}),
    "voxcpm": frozenset({"convolution-transposed", "mlx-layout"}),
}


def tolerated(mutant: Mutant) -> bool:
    """Whether the family's loader was seen to load ``mutant`` all the same."""
    return mutant.kind in TOLERATED.get(mutant.specimen.family, ())


def mutants(specimen: Specimen, directory: Path) -> Iterator[Mutant]:
    """Every mutant of ``specimen`` that makes sense, each written under ``directory`` when it is asked for."""
    for number, (kind, options) in enumerate((*UNIVERSAL, *OF_FAMILY.get(specimen.family, ()))):
        yield mutate(specimen, kind, directory / str(number), **options)
    for number, (kind, options) in enumerate(OF_QUANTISED.get(specimen.family, ())):
        whole = quantised(specimen, directory / f"quantised-{number}" / "whole")
        yield mutate(whole, kind, directory / f"quantised-{number}", **options)
