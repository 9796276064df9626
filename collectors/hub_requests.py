"""Which repositories of the hub cache are worth a look, after a load of a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlx_diagnose.collectors import allow_patterns, hub_cache, hub_nearest, model_ids
from mlx_diagnose.collectors.hub_cache import Request
from mlx_diagnose.collectors.hub_folder import RepositoryFolder
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.target import Located, cache_directory
from mlx_diagnose.engine.memory import WorkingMemory

#: Repositories besides the model's own that are looked at.
MAX_COMPANIONS = 16


def collect(
    memory: WorkingMemory,
    located: Located,
    run: LoadRun,
    *,
    revision: str | None,
    unsound: Iterable[str],
    folder: RepositoryFolder | None = None,
) -> bool:
    """Assert the state of the model's own repository, and of the companions of a load that failed; False for neither.

    ``unsound`` are weights files of the model whose headers are not sound. Of a load that passed the
    companions were good enough, and nothing of them is looked at. ``folder`` is what the cache held of the
    model before something was fetched into it, where that was done.
    """
    requests = []
    if located.source == "hub":
        requests.append(Request(located.model, "target", revision, _patterns(run), frozenset(unsound), folder=folder))
    if not run.loads:
        asked = dict.fromkeys(str(reach["target"]) for reach in run.reaches if reach["what"] == "hub")
        companions = [repo for repo in asked if repo != located.model and repo.count("/") <= 1]
        requests += [Request(repo, "companion", thorough=True) for repo in companions[:MAX_COMPANIONS]]
    if requests:
        hub_cache.collect(memory, requests)
    if located.state == "uncached" and not memory.of("hub_response"):
        _mistyped(memory, located.model)
    if located.directory is not None and located.directory.name.startswith("models--"):
        hub_cache.assert_folder(memory, located.directory)
    return bool(requests)


def _mistyped(memory: WorkingMemory, model: str) -> None:
    """What a hub id that is not cached may have been meant to be; a model that is known is no misspelling."""
    known = hub_nearest.known_ids()
    if model not in known:
        cached = hub_nearest.cached_ids(cache_directory())
        hub_nearest.collect(memory, model, {"cache": cached, "knowledge base": known})
        model_ids.collect(memory, model)


def _patterns(run: LoadRun) -> tuple[str, ...] | None:
    directory = (run.mlx_audio or {}).get("directory")
    return allow_patterns.read(Path(directory), run.category) if directory is not None else None
