"""Whether a loader honours entries for single layers, by its source."""

from __future__ import annotations

from pathlib import Path

import mlx_audio
import pytest

from mlx_diagnose.collectors import quantization_reader
from mlx_diagnose.engine.memory import WorkingMemory

LOOKS_UP = """
import mlx.nn as nn
def quantize_weights(model, config, weights):
    block = config["quantization"]
    def predicate(path, module):
        {}
        return f"{{path}}.scales" in weights
    nn.quantize(model, bits=block["bits"], class_predicate=predicate)
"""


@pytest.mark.parametrize(
    ("line", "honoured"), [("if path in block: return block[path]", True), ("if path in block: return True", False)]
)
def test_the_predicate_looks_the_layer_up(tmp_path: Path, line: str, honoured: bool) -> None:
    (tmp_path / "utils.py").write_text(LOOKS_UP.format(line), encoding="utf-8")
    memory = WorkingMemory()
    quantization_reader.collect(memory, tmp_path, "tts")
    fact = memory.one("quantization_reader")
    assert fact is not None and fact["per_layer"] is honoured


def test_the_installed_loader_honours_them() -> None:
    memory = WorkingMemory()
    quantization_reader.collect(memory, Path(mlx_audio.__file__).parent, "tts")
    fact = memory.one("quantization_reader")
    assert fact is not None and fact["per_layer"] is True


def test_where_nothing_quantises_nothing_is_said(tmp_path: Path) -> None:
    memory = WorkingMemory()
    quantization_reader.collect(memory, tmp_path, "tts")
    assert memory.one("quantization_reader") is None
