"""Loader shims: each says what it mends, and can be undone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.adapters import shims


def test_there_are_shims_and_no_others() -> None:
    assert {"metal-kernels", "sanitize-keeps-layout", "declared-type-first", "codec-when-used"} <= set(shims.names())
    with pytest.raises(KeyError):
        shims.source("../__init__")


@pytest.mark.parametrize("name", shims.names())
def test_a_shim_stands_alone(name: str) -> None:
    """It is sent as text: nothing of ours, syntax of older Pythons, an install() that gives back its undo."""
    tree = ast.parse(shims.source(name), feature_version=(3, 8))
    assert ast.get_docstring(tree)
    assert "mlx_diagnose" not in shims.source(name)
    (install,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert install.name == "install"
    last = install.body[-1]
    assert isinstance(last, ast.Return)
    assert isinstance(last.value, ast.Name)
    assert last.value.id == "undo"


_LAYOUT = """
import mlx.core as mx
import mlx.nn as nn
from pathlib import Path
from mlx_audio import utils
install_shim = {}
exec(SOURCE, install_shim)
undo = install_shim["install"]()

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3)
        self.square = nn.Conv1d(3, 4, 3)
        self.norm = nn.LayerNorm(2)

stored = {"conv.weight": mx.arange(24.0).reshape(4, 3, 2), "square.weight": mx.arange(36.0).reshape(4, 3, 3)}
stored["norm.weight"] = mx.ones(2)
mx.save_safetensors(str(Path(FOLDER) / "model.safetensors"), stored)

def sanitized(weights):
    made = {name: array.transpose(0, 2, 1) if array.ndim == 3 else array for name, array in weights.items()}
    return {**made, "norm.weight": made["norm.weight"] + 1}

weights = sanitized(utils.load_weights(Path(FOLDER)))
utils.apply_quantization(Model(), {}, weights)
for name in ("conv.weight", "square.weight"):
    assert mx.array_equal(weights[name], stored[name]).item(), name
assert weights["norm.weight"].tolist() == [2, 2]
undo()
"""


def test_where_axes_are_of_one_length_the_layout_is_that_of_the_others(tmp_path: Path) -> None:
    pytest.importorskip("mlx_audio")
    program = f"SOURCE = {shims.source('sanitize-keeps-layout')!r}\nFOLDER = {str(tmp_path)!r}\n{_LAYOUT}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
