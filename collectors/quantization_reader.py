"""Whether the installed loader honours entries of the quantization block for single layers, by its source.

mlx-audio asks a predicate for every layer; where that looks the layer's path up in the block, an entry
(settings, or false) stands there in the place of the settings for all (``mlx_audio/utils.py::apply_quantization``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mlx_diagnose.collectors.syntax import syntax_tree
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance


def collect(memory: WorkingMemory, mlx_audio_dir: Path, category: str) -> None:
    """Assert the fact ``quantization_reader``; none where no function quantises."""
    for file in (mlx_audio_dir / "utils.py", mlx_audio_dir / category / "utils.py"):
        try:
            tree = syntax_tree(file)
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        for function in _quantising(tree):
            memory.add(
                "quantization_reader",
                Provenance("quantization", file=str(file), line=function.lineno),
                per_layer=any(map(_looks_up, ast.walk(function))),
                file=str(file),
                line=function.lineno,
            )
            return


def _quantising(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions that call ``nn.quantize``."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(inner, ast.Call) and ast.unparse(inner.func).rpartition(".")[2] == "quantize"
            for inner in ast.walk(node)
        ):
            yield node


def _looks_up(node: ast.AST) -> bool:
    """``if path in block: return block[path]``."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    if len(node.test.ops) != 1 or not isinstance(node.test.ops[0], ast.In):
        return False
    wanted = f"{ast.unparse(node.test.comparators[0])}[{ast.unparse(node.test.left)}]"
    return any(
        isinstance(inner, ast.Return) and inner.value is not None and ast.unparse(inner.value) == wanted
        for inner in node.body
    )
