"""Asserts what the hub said of a repository: ``hub_response``, ``hub_repository`` and ``hub_file`` facts."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

from mlx_diagnose.collectors import hub_card, hub_names, hub_nearest, hub_variants
from mlx_diagnose.collectors.hub import RemoteFile, RemoteModel
from mlx_diagnose.collectors.hub_client import HubClient
from mlx_diagnose.collectors.hub_problems import Problem
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("hub")
MAX_FACTS = 100
_FOUND = Problem("found", 200)


def collect(memory: WorkingMemory, model: RemoteModel, client: HubClient) -> None:
    """Assert everything that is known of ``model``."""
    _response(memory, model, client, model.problem or _FOUND)
    for problem in list(model.gaps.values())[:MAX_FACTS]:
        _response(memory, model, client, problem)
    if model.info is not None:
        _repository(memory, model, client)
        _files(memory, model)
        _left_out(memory, model)
        hub_variants.collect(memory, model.repo, model.others)
    elif model.role == "model" and model.problem is not None and model.problem.outcome == "not-found":
        known = {
            "cache": hub_nearest.cached_ids(client.cache),
            "knowledge base": hub_nearest.known_ids(),
            "hub": model.others,
        }
        hub_nearest.collect(memory, model.repo, known)


def _response(memory: WorkingMemory, model: RemoteModel, client: HubClient, problem: Problem) -> None:
    memory.add(
        "hub_response",
        _HERE,
        repo=model.repo,
        role=model.role,
        revision=model.revision,
        item=clean(problem.item) if problem.item else None,
        outcome=problem.outcome,
        status=problem.status,
        host=problem.host or client.host,
        endpoint=client.shown_endpoint,
        default_endpoint=client.is_default,
        authenticated=client.authenticated,
        retry_after=problem.retry_after,
        tls=problem.tls,
        proxy=clean(problem.proxy) if problem.proxy else None,
        detail=problem.detail,
    )


def _repository(memory: WorkingMemory, model: RemoteModel, client: HubClient) -> None:
    info, card = model.info, hub_card.read(model.info)
    gated = getattr(info, "gated", None)
    memory.add(
        "hub_repository",
        _HERE,
        repo=model.repo,
        role=model.role,
        commit=clean(model.commit or ""),
        private=bool(getattr(info, "private", False)),
        gated=clean(str(gated)) if gated else None,
        library=card.library,
        task=card.task,
        licence=card.licence,
        base_model=card.base_model,
        base_relation=card.base_relation,
        converted_with=hub_card.converted_with(model.fetched.get("README.md")),
        tags=clean(",".join(card.tags), 2000),
        files=len(model.files) + len(model.unsafe),
        bytes=_total(model.files),
        weights=len(model.weights),
        weights_bytes=_total(model.weights),
        fits=_fits(client.cache, _total(model.weights)),
    )


def _total(files: Iterable[RemoteFile]) -> int | None:
    sizes = [file.size for file in files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _fits(cache: Path, size: int | None) -> bool | None:
    """Whether a download of ``size`` bytes fits on the disk of the cache."""
    if size is None:
        return None
    there = next((folder for folder in (cache, *cache.parents) if folder.exists()), cache)
    try:
        return size < shutil.disk_usage(there).free
    except OSError:
        return None


def _files(memory: WorkingMemory, model: RemoteModel) -> None:
    told = [file for file in model.files if _state(model, file.name) != "listed" or hub_names.is_told(file.name)]
    # Where facts run out, those of which something is known stay.
    told.sort(key=lambda file: (_state(model, file.name) == "listed", file.name))
    for file in told[:MAX_FACTS]:
        _file(memory, model, file.name, file.size, _state(model, file.name))
    for name in model.unsafe[:MAX_FACTS]:
        _file(memory, model, name, None, "unsafe-name")


def _left_out(memory: WorkingMemory, model: RemoteModel) -> None:
    for file in [file for file in model.left_out if not hub_names.is_hidden(file.name)][:MAX_FACTS]:
        memory.add(
            "left_out_file",
            _HERE,
            repo=model.repo,
            file=clean(file.name, 500),
            name=clean(file.name.rpartition("/")[2], 500),
            size=file.size or 0,
            present=False,
            fetch=clean(shlex.join([model.repo, file.name]), 1000),
        )


def _file(memory: WorkingMemory, model: RemoteModel, name: str, size: int | None, state: str) -> None:
    memory.add(
        "hub_file",
        _HERE,
        repo=model.repo,
        role=model.role,
        file=clean(name, 500),
        size=size,
        state=state,
        weights=model.role == "model" and any(file.name == name for file in model.weights),
    )


def _state(model: RemoteModel, name: str) -> str:
    if name in model.gaps:
        return "failed"
    if name in model.headers:
        return "header"
    return "fetched" if name in model.fetched else "listed"
