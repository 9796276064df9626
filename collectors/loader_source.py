"""The load function of a category as the source of the installed mlx-audio has it.

It changed often (its name, what it takes, where the work is done): what is there is told, not
which release has what.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.syntax import syntax_tree

#: In the order in which the probe tries them (``probes/load.py``).
_NAMES = ("load_model", "load")


def describe_loader(mlx_audio_dir: Path, category: str) -> dict[str, Any] | None:
    """The load function of ``category``, or None where its module has none or cannot be read.

    ``{"module", "function", "parameters": [{"name", "default": source text or None}], "accepts_any", "strict",
    "shared": it hands over to ``mlx_audio.utils``, "file", "line"}``.
    """
    file = mlx_audio_dir / category / "utils.py"
    try:
        tree = syntax_tree(file)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    node = next((functions[name] for name in _NAMES if name in functions), None)
    if node is None:
        return None
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(names) - len(arguments.defaults))
    pairs = [
        *zip(names, [*missing, *arguments.defaults], strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    defaults = {name.arg: default for name, default in pairs}
    strict = defaults.get("strict")
    return {
        "module": f"mlx_audio.{category}.utils",
        "function": node.name,
        "parameters": [
            {"name": name, "default": ast.unparse(default) if default is not None else None}
            for name, default in defaults.items()
        ],
        "accepts_any": arguments.kwarg is not None,
        "strict": strict.value if isinstance(strict, ast.Constant) and isinstance(strict.value, bool) else None,
        "shared": "base_load_model" in ast.unparse(node),
        "file": str(file),
        "line": node.lineno,
    }
