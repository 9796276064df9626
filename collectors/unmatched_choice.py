"""What code chose by and found nothing for: a chain of tests on texts of the config that ends in ``raise``.

``if config.get("target") == "a": ... elif config.get("target") == "b": ... else: raise``: the key
``target`` wants one of the texts that the chain compares it with. Read from the source of the frame
that raised; values that are no literal text choose nothing here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.syntax import syntax_tree, walk
from mlx_diagnose.collectors.text import clean, scalar_text
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_CONFIG = re.compile(r"(^|_)(config|cfg|params)$")
_MAX_CHOICES = 20
_ABSENT: Any = object()


def collect(memory: WorkingMemory, config: Mapping[str, Any], file: str, line: int) -> None:
    """Assert an unmatched_choice for each key by which the chain chose that raised at ``line`` of ``file``."""
    try:
        tree = syntax_tree(Path(file))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return
    choices: dict[str, list[str]] = {}
    for test in _tests(tree, line):
        for path, text in _compared(test):
            known = choices.setdefault(path, [])
            if text not in known and text == clean(text):
                known.append(text)
    for path, texts in choices.items():
        value = value_at(config, path, _ABSENT)
        if value in texts or not 0 < len(texts) <= _MAX_CHOICES:
            continue
        memory.add(
            "unmatched_choice",
            Provenance("unmatched_choice", file=file, line=line, path=path),
            path=path,
            given=value is not _ABSENT,
            value=None if value is _ABSENT else scalar_text(value),
            choices=json.dumps(texts, ensure_ascii=False),
        )


def _tests(tree: ast.AST, line: int) -> Iterator[ast.expr]:
    """The tests of all ``if`` and ``elif`` in whose last ``else`` the ``raise`` at ``line`` stands."""
    for node in walk(tree):
        if isinstance(node, ast.If) and any(
            isinstance(step, ast.Raise) and step.lineno <= line <= (step.end_lineno or step.lineno)
            for step in _last(node)
        ):
            yield node.test


def _last(node: ast.If) -> list[ast.stmt]:
    """What the chain does where no test holds."""
    while len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        node = node.orelse[0]
    return node.orelse


def _compared(test: ast.expr) -> Iterator[tuple[str, str]]:
    """Keys of the config and the texts that ``test`` compares them with."""
    for node in walk(test):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.In)):
            path = _key(node.left)
            other = node.comparators[0]
            for item in other.elts if isinstance(other, (ast.Tuple, ast.List, ast.Set)) else [other]:
                if path is not None and isinstance(item, ast.Constant) and isinstance(item.value, str):
                    yield path, item.value


def _key(node: ast.expr) -> str | None:
    """The dotted path of ``config["a"]``, ``config.get("a")`` and of one in the other."""
    if isinstance(node, ast.Subscript):
        owner, name = node.value, node.slice
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        owner, name = node.func.value, node.args[0]
    else:
        return None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    if isinstance(owner, ast.Name):
        return name.value if _CONFIG.search(owner.id) else None
    above = _key(owner)
    return f"{above}.{name.value}" if above is not None else None
