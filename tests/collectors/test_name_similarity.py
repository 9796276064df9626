"""Likeness of key names: aliases, spellings, and names that only look alike."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.config_names import is_housekeeping
from mlx_diagnose.collectors.knowledge import distribution_of, table
from mlx_diagnose.collectors.name_similarity import KNOWN_ALIAS, THRESHOLD, known_aliases, similarity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("n_layers", "num_hidden_layers"),
        ("d_model", "hidden_size"),
        ("n_heads", "num_attention_heads"),
        ("ffn_dim", "intermediate_size"),
        ("n_vocab", "vocab_size"),
        ("sr", "sampling_rate"),
    ],
)
def test_known_aliases(one: str, other: str) -> None:
    assert known_aliases(one, other) and known_aliases(other, one)
    assert similarity(one, other) >= KNOWN_ALIAS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acostic_vae_dim", "acoustic_vae_dim"),
        ("istft_net", "istftnet"),
        ("hiddenSize", "hidden_size"),
        ("audio_len", "audio_length"),
        ("dropuot", "dropout"),
        ("encoder_cfg", "encoder_config"),
        ("latent_sz", "latent_size"),
        ("max_positon_embeddings", "max_position_embeddings"),
        ("num_blcoks", "num_blocks"),
    ],
)
def test_other_spellings_are_alike(one: str, other: str) -> None:
    assert not known_aliases(one, other)
    assert similarity(one, other) >= 0.8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("text_vocab_size", "audio_vocab_size"),
        ("encoder_layers", "decoder_layers"),
        ("n_layer", "n_head"),
        ("bos_token_id", "eos_token_id"),
        ("num_key_value_heads", "num_attention_heads"),
        ("min_length", "max_length"),
        ("model_path", "model_type"),
        ("upsample_rates", "downsample_rates"),
        ("encoder_rates", "decoder_rates"),
        ("input_channels", "output_channels"),
    ],
)
def test_names_of_different_things_are_not_alike(one: str, other: str) -> None:
    assert similarity(one, other) < THRESHOLD


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_two_names_have_a_likeness(one: str, other: str) -> None:
    assert 0.0 <= similarity(one, other) <= 1.0
    assert similarity(one, one) == 1.0


def test_a_name_stands_in_one_group_only() -> None:
    counts = Counter(name for group in table("aliases")["groups"] for name in group)
    assert [name for name, count in counts.items() if count > 1] == []
    assert all(len(group) > 1 and all(name == name.lower() for name in group) for group in table("aliases")["groups"])


def test_housekeeping() -> None:
    assert all(map(is_housekeeping, ["model_type", "torch_dtype", "_name_or_path", "transformers_version"]))
    assert not any(map(is_housekeeping, ["hidden_size", "sample_rate", "vocab_size", "decoder"]))


def test_a_table_that_is_not_there_is_empty() -> None:
    assert table("no-such-table") == {}


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("yaml", "pyyaml"),
        ("pkg_resources", "setuptools"),
        ("mlx.core", "mlx"),
        ("mlx_lm.utils", "mlx-lm"),
        ("a_b.c", "a-b"),
    ],
)
def test_distributions_of_modules(module: str, distribution: str) -> None:
    assert distribution_of(module) == distribution
