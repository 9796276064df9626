"""Data files that the code of a family expects beside itself, and that the installed package does not have.

A release may be packed without a file that its own code opens (mlx-audio 0.2.3 and OuteTTS's
``default_speaker.json``). It shows at the first use, long after the load; here it is read off
paths that the source builds on ``__file__``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mlx_diagnose.collectors.syntax import syntax_tree, walk
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_NAME = "packaged_files"
#: Calls and attributes that lead from a file to a folder, and how many levels up each goes.
_UPWARD = {"parent": 1, "dirname": 1}
#: Calls that leave a path what it is.
_SAME = frozenset({"Path", "resolve", "absolute", "abspath", "realpath", "str", "fspath", "as_posix"})
#: Code, and weights: no package carries a model's weights, a default path to them is a developer's own.
_NOT_DATA = frozenset({".py", ".safetensors", ".npz", ".pt", ".pth", ".bin", ".onnx"})
_JOINING = frozenset({"join", "joinpath"})


def collect(memory: WorkingMemory, mlx_audio_dir: Path, category: str, family: str) -> None:
    """Assert ``packaged_file`` for every file that modules of the family name beside themselves and is not there."""
    folder = mlx_audio_dir / category / "models" / family
    for source in sorted(folder.rglob("*.py")):
        if "tests" in source.relative_to(folder).parts:
            continue
        for line, wanted in named_beside(source):
            if not wanted.exists():
                memory.add(
                    "packaged_file",
                    Provenance(_NAME, str(source), line),
                    name=wanted.name,
                    path=str(wanted),
                    file=str(source),
                    line=line,
                )


def named_beside(source: Path) -> Iterator[tuple[int, Path]]:
    """The files with an ending that ``source`` names by a constant path from its own place: (line, path)."""
    try:
        tree = syntax_tree(source)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    seen: set[Path] = set()
    for node in walk(tree):
        if isinstance(node, ast.expr):
            path = _path(node, source)
            if path is not None and path.suffix and path.suffix not in _NOT_DATA and path not in seen:
                seen.add(path)
                yield node.lineno, path


def _path(node: ast.expr, source: Path) -> Path | None:
    """The path that ``node`` stands for, if it is built from ``__file__`` and constants alone."""
    if isinstance(node, ast.Name):
        return source if node.id == "__file__" else None
    if isinstance(node, ast.Attribute):
        base = _path(node.value, source)
        return base.parent if base is not None and node.attr in _UPWARD else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add)):
        base, rest = _path(node.left, source), _text(node.right)
        return base / rest.lstrip("/") if base is not None and rest is not None else None
    if isinstance(node, ast.JoinedStr):
        return _formatted(node, source)
    return _called(node, source) if isinstance(node, ast.Call) else None


def _formatted(node: ast.JoinedStr, source: Path) -> Path | None:
    """``f"{Path(__file__).parent}/name.json"``."""
    if len(node.values) != 2 or not isinstance(node.values[0], ast.FormattedValue):
        return None
    base, rest = _path(node.values[0].value, source), _text(node.values[1])
    return base / rest.lstrip("/") if base is not None and rest is not None else None


def _called(node: ast.Call, source: Path) -> Path | None:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
    owner = _path(function.value, source) if isinstance(function, ast.Attribute) else None
    arguments = list(node.args)
    base = owner
    if base is None and arguments:
        base = _path(arguments.pop(0), source)
    if base is None or name is None:
        return None
    if name in _SAME and not arguments:
        return base
    if name in _UPWARD and not arguments:
        return base.parent
    texts = [text for text in map(_text, arguments) if text is not None]
    if len(texts) != len(arguments) or not texts:
        return None
    if name == "with_name":
        return base.with_name(texts[0]) if texts[0] and "/" not in texts[0] else None
    return base.joinpath(*texts) if name in _JOINING else None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value else None
