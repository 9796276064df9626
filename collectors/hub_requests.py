"""Which repositories of the hub cache are worth a look, after a load of a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlx_diagnose.collectors import allow_patterns
from mlx_diagnose.collectors.hub_cache import Request
from mlx_diagnose.collectors.load import LoadRun

#: Repositories besides the model's own that are looked at.
MAX_COMPANIONS = 16


def requests(run: LoadRun, *, model: str | None, revision: str | None, unsound: Iterable[str]) -> list[Request]:
    """The model's own repository (``model``, None for a directory), and the companions of a load that failed.

    ``unsound`` are weights files of the model whose headers are not sound. Of a load that passed the
    companions were good enough, and nothing of them is looked at.
    """
    found = []
    if model is not None:
        found.append(Request(model, "target", revision, _patterns(run), frozenset(unsound)))
    if not run.loads:
        asked = dict.fromkeys(str(reach["target"]) for reach in run.reaches if reach["what"] == "hub")
        companions = [repo for repo in asked if repo != model and repo.count("/") <= 1]
        found += [Request(repo, "companion", thorough=True) for repo in companions[:MAX_COMPANIONS]]
    return found


def _patterns(run: LoadRun) -> tuple[str, ...] | None:
    directory = (run.mlx_audio or {}).get("directory")
    return allow_patterns.read(Path(directory), run.category) if directory is not None else None
