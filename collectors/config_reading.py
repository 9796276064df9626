"""Keys of config.json that the package which reads it for the loader drops or renames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance


def collect(
    memory: WorkingMemory, message: Mapping[str, Any], chain: Sequence[ExceptionDoc], packages: Mapping[str, str]
) -> None:
    """Assert config_key_lost for each key; run it after the exceptions, whose facts say which were wanted."""
    package = message["package"]
    wanted = {str(fact["name"]) for kind in ("missing_argument", "missing_key") for fact in memory.of(kind)}
    for doc in chain:
        name = doc.attribute("key") if doc.is_a("KeyError") else doc.attribute("name")
        if name and doc.is_a("KeyError", "AttributeError"):
            wanted.add(name)
    for path in message["keys"]:
        name = path.rpartition(".")[2]
        memory.add(
            "config_key_lost",
            Provenance("config_reading", path=clean(path)),
            path=clean(path),
            name=clean(name),
            package=package,
            version=packages.get(package) if package else None,
            wanted=name in wanted,
        )
