"""Config values against the shapes of a checkpoint, by source and headers alone."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.checkpoint import collect as read_checkpoint
from mlx_diagnose.collectors.checkpoint_sizes import evidence, fits
from mlx_diagnose.collectors.config import parse_config
from mlx_diagnose.collectors.config_difference import collect
from mlx_diagnose.collectors.sources import describe_source
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.engine.memory import WorkingMemory
from tests.collectors.releases import OLD, write_release
from tests.specimens import make_specimen

_SOURCE = """
    import mlx.nn as nn
    from dataclasses import dataclass

    @dataclass
    class ModelConfig:
        dim: int
        vocab_size: int = 100
        depth: int = 2
        heads: int = 4
        inner: int = 5
        rounded: bool = False

        @classmethod
        def from_dict(cls, params):
            return cls(**params)

    class Attention(nn.Module):
        def __init__(self, dim, heads):
            self.q_proj = nn.Linear(dim, dim * heads, bias=False)
            self.o_proj = nn.Linear(input_dims=heads, output_dims=dim)

    class Layer(nn.Module):
        def __init__(self, config):
            self.attention = Attention(config.dim, config.heads)
            self.norm = nn.RMSNorm(config.dim, eps=1e-5)

    class Model(nn.Module):
        def __init__(self, config):
            self.embed = nn.Embedding(config.vocab_size, config.dim)
            self.layers = [Layer(config) for _ in range(config.depth)]
            inner = config.inner
            if config.rounded:
                inner = 8 * ((inner + 7) // 8)
            self.gate = nn.Linear(config.dim, inner)
            self.extra = nn.Linear(3, config.dim)
"""


def _table(dim: int, vocab: int, depth: int, prefix: str = "") -> dict[str, TensorInfo]:
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (vocab, dim), "extra.weight": (dim, 3)}
    for layer in range(depth):
        shapes[f"layers.{layer}.attention.q_proj.weight"] = (dim * 4, dim)
        shapes[f"layers.{layer}.attention.o_proj.weight"] = (dim, 4)
        shapes[f"layers.{layer}.norm.weight"] = (dim,)
    return {prefix + name: TensorInfo("float32", shape) for name, shape in shapes.items()}


def _family(tmp_path: Path) -> Path:
    return write_release(tmp_path, {**OLD, "mlx_audio/tts/models/chant/chant.py": textwrap.dedent(_SOURCE)})


def test_sizes_of_tensors_are_traced_to_config_values(tmp_path: Path) -> None:
    document = describe_source(_family(tmp_path), "tts", "chant")
    assert {(size["tensor"], size["axis"], size["paths"][0]) for size in document["sizes"]} == {
        ("embed.weight", 0, "vocab_size"),
        ("embed.weight", 1, "dim"),
        ("extra.weight", 0, "dim"),
        ("gate.weight", 1, "dim"),  # but nothing sizes axis 0: a branch may have rounded it
        ("layers", None, "depth"),
        ("layers.*.norm.weight", 0, "dim"),
        ("layers.*.attention.q_proj.weight", 1, "dim"),
        ("layers.*.attention.o_proj.weight", 1, "heads"),
        ("layers.*.attention.o_proj.weight", 0, "dim"),
    }
    found = evidence(document, {"dim": 8}, _table(16, 50, 3))
    assert {(item.path, item.size) for item in found} == {("dim", 16), ("vocab_size", 50), ("depth", 3), ("heads", 4)}
    assert [fits(found, "dim", value) for value in (16, 8, "16", None)] == [True, False, None, None]
    assert fits(found, "unheard_of", 16) is None
    # A prefix that sanitize takes away; what is left of short names could be anybody's.
    prefixed = {item.path for item in evidence(document, {}, _table(16, 50, 3, "model."))}
    assert prefixed >= {"dim", "heads"}
    packed = {name: TensorInfo("uint32", info.shape) for name, info in _table(16, 50, 3).items()}
    assert ("embed.weight", 1) not in {(item.tensor, item.axis) for item in evidence(document, {}, packed)}


def test_facts_and_the_value_of_a_key_under_another_name(tmp_path: Path) -> None:
    folder = _family(tmp_path)

    def facts(config: dict[str, Any]) -> WorkingMemory:
        memory = WorkingMemory()
        document = parse_config(tmp_path, json.dumps(config).encode())
        collect(memory, document, mlx_audio_dir=folder, category="tts", family="chant", table=_table(16, 50, 3))
        return memory

    memory = facts({"dim": 8, "vocab_size": 50})
    wrong = {(f["path"], f["size"], f["value"], f["default"]) for f in memory.of("checkpoint_size", agrees=False)}
    assert wrong == {("dim", 16, "8", False), ("depth", 3, "2", True)}
    assert {f["path"] for f in memory.of("checkpoint_size", settled=True)} == {"dim", "depth"}
    assert facts({}).of("checkpoint_size", settled=True) != []
    for value, fitting in ((50, True), (99, False)):
        (pair,) = facts({"dim": 16, "vocabsize": value}).of("key_similarity", given="vocabsize", wanted="vocab_size")
        assert pair["value_fits"] is fitting


@pytest.mark.parametrize("family", ["kokoro", "llama", "indextts", "zonos2", "voxcpm"])
def test_a_healthy_checkpoint_contradicts_nothing(family: str, tmp_path: Path) -> None:
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    folder = Path(found.submodule_search_locations[0])
    if not (folder / "tts" / "models" / family).is_dir():
        pytest.skip("the installed mlx-audio has no such family")
    specimen = make_specimen(family, tmp_path)
    memory = WorkingMemory()
    table = read_checkpoint(memory, specimen.path).table
    document = parse_config(specimen.path, json.dumps(specimen.config).encode())
    collect(memory, document, mlx_audio_dir=folder, category="tts", family=family, table=table)
    assert memory.of("checkpoint_size", agrees=True) != []
    assert memory.of("checkpoint_size", agrees=False, settled=True) == []
