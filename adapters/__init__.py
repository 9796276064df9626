"""What mends: one kind of fix a module; also the run-time library that an app imports.

    from mlx_diagnose.adapters import load

    model = load("org/Model")

loads a model with the adapters that are for it; ``load_first`` takes the first of several that loads.
What is imported is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_diagnose.adapters.adapter import Adapter, AdapterError
    from mlx_diagnose.adapters.discovery import find_adapters, register
    from mlx_diagnose.adapters.fallback import Loaded, NothingLoads, load_first
    from mlx_diagnose.adapters.runtime import applicable, load

__all__ = [
    "Adapter",
    "AdapterError",
    "Loaded",
    "NothingLoads",
    "applicable",
    "find_adapters",
    "load",
    "load_first",
    "register",
]

_MODULES = {
    "Adapter": "adapter",
    "AdapterError": "adapter",
    "Loaded": "fallback",
    "NothingLoads": "fallback",
    "applicable": "runtime",
    "find_adapters": "discovery",
    "load": "runtime",
    "load_first": "fallback",
    "register": "discovery",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"mlx_diagnose.adapters.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
