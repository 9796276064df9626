"""Tensor tables: what a checkpoint of a family holds, collapsed, as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from mlx_diagnose.engine.specimen import collapse, expand
from tests.specimens.recipe import Files

DIRECTORY = Path(__file__).parent / "tables"


def read(name: str) -> Files:
    """The table ``name``: tensors by weights file."""
    text = (DIRECTORY / f"{name}.json").read_text(encoding="utf-8")
    return {
        file: expand({pattern: (dtype, tuple(shape)) for dtype, part in types.items() for pattern, shape in part.items()})
        for file, types in json.loads(text).items()
    }


def write(name: str, files: Files) -> None:
    """Keep ``files`` as the table ``name``, one line a pattern."""
    lines = []
    for file, tensors in files.items():
        types: dict[str, list[str]] = {}
        for pattern, (dtype, shape) in collapse(tensors).items():
            types.setdefault(dtype, []).append(f"   {json.dumps(pattern)}: {json.dumps(list(shape))}")
        parts = [f"  {json.dumps(dtype)}: {{\n" + ",\n".join(rows) + "\n  }" for dtype, rows in types.items()]
        lines.append(f" {json.dumps(file)}: {{\n" + ",\n".join(parts) + "\n }")
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
