"""YAML of the package itself as plain data, by the parser in C where PyYAML was built with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read(path: Path) -> Any:
    """What stands in ``path``. Raises OSError, yaml.YAMLError."""
    import yaml  # 20 ms: only for those who ask for data

    # The parser in Python takes ten times as long.
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
