"""Tensor tables: what a checkpoint of a family holds, collapsed, as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from mlx_diagnose.engine.specimen import collapse
from mlx_diagnose.knowledge_base.configurations import known_good, read_tensor_table
from tests.specimens.recipe import Files

DIRECTORY = Path(__file__).parent / "tables"


def path(name: str) -> Path:
    """Where the table ``name`` is kept: with the knowledge base, if it ships it."""
    family, _, size = name.partition(".")
    entry = known_good(family)
    if size == "full" and entry is not None and entry.table.exists():
        return entry.table
    return DIRECTORY / f"{name}.json"


def read(name: str) -> Files:
    """The table ``name``: tensors by weights file."""
    return read_tensor_table(path(name))


def write(name: str, files: Files) -> None:
    """Keep ``files`` as the table ``name``."""
    write_to(path(name), files)


def write_to(file: Path, files: Files) -> None:
    """``files`` as a collapsed table, one line a pattern."""
    lines = []
    for name, tensors in files.items():
        types: dict[str, list[str]] = {}
        for pattern, (dtype, shape) in collapse(tensors).items():
            types.setdefault(dtype, []).append(f"   {json.dumps(pattern)}: {json.dumps(list(shape))}")
        parts = [f"  {json.dumps(dtype)}: {{\n" + ",\n".join(rows) + "\n  }" for dtype, rows in types.items()]
        lines.append(f" {json.dumps(name)}: {{\n" + ",\n".join(parts) + "\n }")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
