"""Which files of a repository the installed mlx-audio downloads, read from its sources.

The loader gives ``snapshot_download`` a list of patterns (``mlx_audio/utils.py::get_model_path``;
before 0.3 ``mlx_audio/tts/utils.py``); what none of them matches is never fetched, and the load
misses it without a word. The lists differ from release to release.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlx_diagnose.collectors.syntax import syntax_tree, walk

#: What every release downloads; for when the patient's is not known.
CORE = ("*.json", "*.safetensors")

_MAX_SOURCE = 1 << 20


def read(mlx_audio: Path, category: str) -> tuple[str, ...] | None:
    """The patterns of the mlx-audio in the directory ``mlx_audio``; None where they cannot be read."""
    for file in (mlx_audio / "utils.py", mlx_audio / category / "utils.py", mlx_audio / "tts" / "utils.py"):
        try:
            if file.stat().st_size > _MAX_SOURCE:
                continue
            tree = syntax_tree(file)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        found = _of_module(tree)
        if found is not None:
            return found
    return None


def _of_module(tree: ast.Module) -> tuple[str, ...] | None:
    constants: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            constants.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "get_model_path":
            found = _of_function(function, constants)
            if found is not None:
                return found
    return None


def _of_function(function: ast.FunctionDef, constants: Mapping[str, ast.expr]) -> tuple[str, ...] | None:
    """The list that reaches ``allow_patterns``: written in the call, or assigned to its name."""
    for node in walk(function):
        if isinstance(node, ast.keyword) and node.arg == "allow_patterns":
            assigned = [
                other.value
                for other in walk(function)
                if isinstance(node.value, ast.Name)
                and isinstance(other, ast.Assign)
                and any(isinstance(target, ast.Name) and target.id == node.value.id for target in other.targets)
            ]
            for value in (node.value, *assigned):
                found = _texts(constants.get(value.id, value) if isinstance(value, ast.Name) else value)
                if found is not None:
                    return found
    return None


def _texts(node: ast.expr) -> tuple[str, ...] | None:
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    texts = [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return tuple(dict.fromkeys(texts)) if len(texts) == len(node.elts) else None


def matches(file: str, patterns: Sequence[str]) -> bool:
    """Whether the client downloads ``file`` (``huggingface_hub/utils/_paths.py::filter_repo_objects``)."""
    return any(fnmatch.fnmatch(file, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)


def left_out(files: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The ``files`` that no pattern takes."""
    return sorted(file for file in files if not matches(file, patterns))
