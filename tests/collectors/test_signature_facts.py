"""The signature of a family as facts of a diagnosis."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.config import parse_config
from mlx_diagnose.collectors.config_difference import collect
from mlx_diagnose.engine.memory import WorkingMemory
from tests.collectors.releases import OLD, write_release

_BASE = """
    import inspect
    from dataclasses import dataclass, field

    class BaseArgs:
        @classmethod
        def from_dict(cls, params):
            return cls(**{k: v for k, v in params.items() if k in inspect.signature(cls).parameters})
"""


def _facts(tmp_path: Path, source: str, config: dict[str, Any]) -> WorkingMemory:
    source = textwrap.dedent(_BASE) + textwrap.dedent(source)
    folder = write_release(tmp_path, {**OLD, "mlx_audio/tts/models/chant/chant.py": source})
    memory = WorkingMemory()
    document = parse_config(tmp_path, json.dumps(config).encode())
    collect(memory, document, mlx_audio_dir=folder, category="tts", family="chant")
    return memory


def test_reads_of_attributes_through_layers_and_calls(tmp_path: Path) -> None:
    memory = _facts(
        tmp_path,
        """
        @dataclass
        class TextConfig:
            dim: int = 64
            heads: int = 4

        @dataclass
        class ModelConfig(BaseArgs):
            depth: int
            text_config: TextConfig = None

            def __post_init__(self):
                if isinstance(self.text_config, dict):
                    self.text_config = TextConfig(**self.text_config)

        class Layer:
            def __init__(self, config):
                self.scale = config.dim ** -0.5
                self.bias = getattr(config, "bias", False)
                self.kind = config.kind

        class Model:
            def __init__(self, config):
                self.layers = [Layer(config.text_config) for _ in range(config.depth)]
                self.config = config

            def generate(self, text):
                return self.config.top_k
        """,
        {"depth": 2, "text_config": {"dim": 8}},
    )
    reads = {(f["path"], f["how"]): f for f in memory.of("attribute_read")}
    dim = reads["text_config.dim", "attribute"]
    assert (dim["reader"], dim["function"], dim["class_name"]) == ("Layer", "__init__", "TextConfig")
    assert (dim["declared"], dim["given"], dim["sure"], dim["stage"]) == (True, True, True, "construct")
    assert dim["line"] and str(dim["file"]).endswith("chant.py")
    bias = reads["text_config.bias", "getattr"]
    assert (bias["declared"], bias["required"], bias["default"], bias["given"]) == (False, False, "false", False)
    kind = reads["text_config.kind", "attribute"]
    assert (kind["declared"], kind["sure"], kind["stage"]) == (False, True, "construct")
    assert reads["depth", "attribute"]["required"] is True
    later = reads["top_k", "attribute"]
    assert (later["stage"], later["declared"], later["function"]) == ("later", False, "generate")


def test_attributes_that_come_from_elsewhere_are_not_called_undeclared(tmp_path: Path) -> None:
    memory = _facts(
        tmp_path,
        """
        from transformers import PretrainedConfig

        @dataclass
        class ModelConfig(BaseArgs):
            dim: int = 1

            @property
            def twice(self):
                return self.dim * 2

            def __post_init__(self):
                self.made = 3

        class Foreign(PretrainedConfig):
            pass

        class Open(BaseArgs):
            def __init__(self, **kwargs):
                for name, value in kwargs.items():
                    setattr(self, name, value)

        def prepare(config):
            config.given_later = 1

        class Model:
            def __init__(self, config: ModelConfig):
                self.a = config.twice, config.made, config.given_later, config.to_dict
                self.b = Foreign().hidden
                self.c = Open(**{}).anything
        """,
        {},
    )
    assert {f["name"] for f in memory.of("attribute_read", declared=False)} == {"to_dict"}


def test_dependencies_with_their_values(tmp_path: Path) -> None:
    memory = _facts(
        tmp_path,
        """
        @dataclass
        class ModelConfig(BaseArgs):
            hidden: int = 100
            heads: int = 8
            kv_heads: int = None
            head_dim: int = None
            other: int = 3
            rates: list = None
            kernels: list = None
            mel: int = 80
            n_mel: int = 80

            def __post_init__(self):
                if self.kv_heads is None:
                    self.kv_heads = self.heads
                self.head_dim = self.head_dim or self.hidden // self.heads
                self.width = self.hidden * self.other
                if len(self.rates) != len(self.kernels):
                    raise ValueError("lengths")

        class Attention:
            def __init__(self, dim, heads):
                assert dim % heads == 0, "dim must be divisible"
                self.split = int(dim / heads)

        class Model:
            def __init__(self, config):
                self.attention = Attention(config.hidden, config.heads)
                assert config.mel == config.n_mel
                if config.hidden % config.other:
                    raise ValueError
                if config.hidden % 7 != 0 or config.heads % config.other != 0:
                    raise ValueError
        """,
        {"hidden": 100, "rates": [8, 8], "kernels": [3], "mel": 128},
    )
    found = {(f["relation"], f["path"], f["other"], f["asserted"]): f for f in memory.of("parameter_dependency")}
    heads = found["divisible", "hidden", "heads", True]
    assert (heads["value"], heads["other_value"], heads["holds"], heads["remainder"]) == ("100", "8", False, 4)
    assert heads["expression"] == "dim % heads == 0" and heads["line"]
    implied = {f["expression"] for key, f in found.items() if key[:2] == ("divisible", "hidden") and not key[3]}
    assert implied <= {"self.hidden // self.heads", "int(dim / heads)"} and implied
    assert found["divisible", "hidden", "other", True]["remainder"] == 1
    assert found["divisible", "heads", "other", True]["holds"] is False
    assert found["equal", "mel", "n_mel", True]["holds"] is False
    assert found["same-length", "rates", "kernels", True]["holds"] is False
    assert ("stands-in", "kv_heads", "heads", False) in found
    assert ("stands-in", "head_dim", "hidden", False) in found
    assert {key[2] for key in found if key[:2] == ("derived", "width")} == {"hidden", "other"}
    assert all(f["holds"] is None for key, f in found.items() if key[0] in ("stands-in", "derived"))


def test_classes_and_what_cannot_be_read(tmp_path: Path) -> None:
    memory = _facts(
        tmp_path,
        """
        from .broken import Other

        @dataclass
        class ModelConfig(BaseArgs):
            dim: int
            names: list = field(default_factory=list)

        class Model:
            def __init__(self, config: ModelConfig, device="cpu"):
                self.other = Other(config)
        """,
        {"dim": 1},
    )
    assert memory.of("source_unreadable") == []  # broken.py is not there at all
    config = memory.one("class_signature", role="config")
    assert config is not None
    assert (config["parameters"], config["required"]) == ("dim: int, names: list = []", "dim")
    assert (config["method"], config["unknown_keys"], config["accepted_keys"]) == ("from_dict", "dropped", "dim, names")
    model = memory.one("class_signature", role="model")
    assert model is not None and model["parameters"] == 'config: ModelConfig, device = "cpu"'

    (tmp_path / "mlx_audio" / "tts" / "models" / "chant" / "broken.py").write_text("def f(:\n")
    memory = WorkingMemory()
    document = parse_config(tmp_path, b"{}")
    collect(memory, document, mlx_audio_dir=tmp_path / "mlx_audio", category="tts", family="chant")
    (problem,) = memory.of("source_unreadable")
    assert (problem["reason"], problem["line"]) == ("syntax-error", 1)
    assert memory.one("class_signature", role="config") is not None
