"""Confucius 4: every part reads its own file while the model is built; the loader is given nothing to fill.

The parts hold bare tensors and look at few of them, so that a file of one tensor is whole enough.
"""

from pathlib import Path

from tests.specimens.arrays import write_npz
from tests.specimens.codecs import parameters_of
from tests.specimens.recipe import Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer


def _nothing(parameters: Tensors, config: Config) -> Files:
    return {}


def _side_files(directory: Path, config: Config) -> None:
    write_npz(directory / "w2v_stats.npz", {"mean": (1024,), "std": (1024,)})
    write_npz(directory / "fbank_filters.npz", {"mel": (257, 80), "window": (400,)})
    write_tokenizer(directory / "checkpoints")


def _parts(directory: Path, config: Config) -> Files:
    from mlx_audio.tts.models.chatterbox.s3gen.xvector import CAMPPlus

    embedding: Tensors = {"semantic_embedding.weight": ("F32", (8194, 1280))}
    return {
        "w2vbert_mlx.safetensors": {"feature_projection.projection.weight": ("F32", (1024, 160))},
        "t2s_model.safetensors": embedding,
        "s2a_mlx.safetensors": {"decoder.estimator.freqs_cis": ("F32", (4096, 32, 2))},
        "bigvgan_mlx.safetensors": {"conv_pre.weight": ("F32", (1536, 7, 80))},
        "campplus.safetensors": parameters_of(CAMPPlus(feat_dim=80, embedding_size=192)),
    }


RECIPE = Recipe(
    name="Confucius4-TTS-mlx",
    small={},
    dtype="F32",
    layout=_nothing,
    side_files=_side_files,
    parts=_parts,
)
