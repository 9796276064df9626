"""The run-time library: ``load`` a model with the adapters that are for it, through the unmodified mlx-audio."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters import shims as loader_shims
from mlx_diagnose.adapters.adapter import Adapter, AdapterError
from mlx_diagnose.adapters.discovery import find_adapters, read_file
from mlx_diagnose.adapters.snippets import loading

#: mx.load and mlx-audio are changed for the whole process while a model loads.
_LOADING = threading.Lock()


def load(
    model: str | Path,
    adapters: Iterable[Adapter | str | Path] | Adapter | str | Path | None = None,
    *,
    category: str = "tts",
    revision: str | None = None,
    **options: Any,
) -> Any:
    """Load ``model`` (a directory or a repository id) with ``adapters``, and return what mlx-audio returns.

    ``adapters`` are :class:`Adapter` objects, names of known ones, or files; None takes all known
    ones that are for this model and the installed mlx-audio. ``options`` go to the ``load_model``
    of mlx-audio (``lazy``, ``strict``). Raises AdapterError for an adapter that is not known or does not
    fit, and whatever mlx-audio raises. Variables of the environment that an adapter sets stay set; a
    RuntimeWarning says so where a library that reads them was imported before.
    """
    given = _given(adapters) if adapters is not None else None
    loading.set_variables(_variables(given if given is not None else applicable(str(model), {}, _mlx_audio())))
    directory = loading.find(str(model), revision)
    config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    chosen = given if given is not None else applicable(str(model), config, _mlx_audio())
    loading.set_variables(_variables(chosen))
    if chosen:
        category = chosen[0].category
    name = Path(model).name or "model"
    with _LOADING, ExitStack() as undo:
        for shim in dict.fromkeys(shim for adapter in chosen for shim in adapter.shims):
            undo.callback(_installed(shim))
        if any(adapter.config_patch or adapter.mend_config for adapter in chosen):
            directory = loading.overlay(directory, name, lambda found: _config(chosen, found))
        weights = (lambda found: _weights(chosen, found)) if any(each.changes_weights for each in chosen) else None
        return loading.load_mended(directory, category, weights, **options)


def applicable(model: str, config: dict[str, Any], mlx_audio: str | None) -> list[Adapter]:
    """The known adapters that are for ``model`` with this config and release, in order of name."""
    model_type = config.get("model_type") or config.get("architecture")
    known, _ = find_adapters()
    return [
        adapter
        for _, adapter in sorted(known.items())
        if adapter.is_for(model, model_type if isinstance(model_type, str) else None)
        and (mlx_audio is None or adapter.supports(mlx_audio))
    ]


def _given(adapters: Iterable[Adapter | str | Path] | Adapter | str | Path) -> list[Adapter]:
    if isinstance(adapters, (Adapter, str, Path)):
        adapters = [adapters]
    known: dict[str, Adapter] | None = None
    found: list[Adapter] = []
    for adapter in adapters:
        if isinstance(adapter, Adapter):
            found.append(adapter)
        elif isinstance(adapter, Path) or adapter.endswith((".yaml", ".yml", ".py")):
            found += read_file(Path(adapter))
        else:
            known = find_adapters()[0] if known is None else known
            if adapter not in known:
                raise AdapterError(f"there is no adapter {adapter!r}; there are {', '.join(known) or 'none'}")
            found.append(known[adapter])
    return found


def _variables(adapters: Iterable[Adapter]) -> dict[str, str]:
    return {name: value for adapter in adapters for name, value in adapter.environment.items()}


def _config(adapters: Iterable[Adapter], config: dict[str, Any]) -> dict[str, Any]:
    for adapter in adapters:
        config = adapter.mended_config(config)
    return config


def _weights(adapters: Iterable[Adapter], weights: dict[str, Any]) -> dict[str, Any]:
    for adapter in adapters:
        if adapter.changes_weights:
            weights = adapter.mended_weights(weights)
    return weights


def _installed(shim: str) -> Callable[[], None]:
    """The change of a loader shim made; returns what undoes it."""
    space: dict[str, Any] = {"__name__": f"diagnose_shim_{shim}"}
    exec(compile(loader_shims.source(shim), f"<shim {shim}>", "exec"), space)
    undo: Callable[[], None] = space["install"]()
    return undo


def _mlx_audio() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlx-audio")
    except PackageNotFoundError:
        return None
