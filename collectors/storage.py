"""The folder of downloaded models: where the variables of the environment put it, and whether it can be used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from mlx_diagnose.collectors.target import cache_directory, cache_variable
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("storage")


def collect(memory: WorkingMemory, environ: Mapping[str, str] = os.environ) -> None:
    """Assert storage."""
    path = cache_directory(environ)
    nearest = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    memory.add(
        "storage",
        _HERE,
        path=str(path),
        variable=cache_variable(environ),
        exists=path.is_dir(),
        writable=nearest.is_dir() and os.access(nearest, os.W_OK),
        free_bytes=shutil.disk_usage(nearest).free,
    )
