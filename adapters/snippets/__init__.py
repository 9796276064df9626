"""Functions that stand as text in a generated adapter, and that the run-time library calls.

They know nothing of ours: the standard library, MLX and mlx-audio, imported where needed, and
the syntax of older Pythons.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from importlib import resources

from mlx_diagnose.collectors.syntax import parse


def sources(module: str, names: Iterable[str]) -> list[str]:
    """The source texts of the functions ``names`` of a snippet ``module``, in the order in which they stand there."""
    wanted = set(names)
    return [text for name, text in _functions(module).items() if name in wanted]


@cache
def _functions(module: str) -> dict[str, str]:
    text = resources.files("mlx_diagnose.adapters.snippets").joinpath(f"{module}.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for node in parse(text).body:
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[node.name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found
