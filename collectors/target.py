"""Finds what the user named: a local directory, or a repository with a snapshot in the hub cache."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

if TYPE_CHECKING:
    from mlx_diagnose.collectors.hub_scratch import ScratchCache

#: ``org/name`` as the hub writes it (``huggingface_hub/utils/_validators.py::validate_repo_id``).
_REPO_ID = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?$")
_REVISION = re.compile(r"^[\w./-]+$")
_TRUE = {"1", "ON", "YES", "TRUE"}
#: Variables that say where the cache is, the first that is set.
_CACHE_VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")

State = Literal["present", "uncached", "incomplete", "not-a-directory", "unreadable"]


@dataclass(frozen=True, slots=True)
class Located:
    """A target as it stands on this machine.

    ``load`` is what the patient's load function is given, ``directory`` what it reads (None for
    a repository without a snapshot), ``name`` the last part of path or id, from which mlx-audio
    takes name parts. ``cache`` is a scratch hub cache to load from, where the model was looked at
    on the hub: its weights are ghosts.
    """

    model: str
    source: Literal["directory", "hub"]
    state: State
    load: str
    name: str
    directory: Path | None
    cache: ScratchCache | None = None


def locate(model: str, revision: str | None = None, environ: Mapping[str, str] = os.environ) -> Located:
    """Find ``model``. What exists as a path is a path, as for mlx-audio's own loader."""
    path = Path(model).expanduser()
    if path.exists() or not _REPO_ID.match(model) or "/" not in model:
        # Not resolved: links keep their own name, and the name steers mlx-audio.
        absolute = Path(os.path.abspath(path))
        return Located(model, "directory", _state(absolute), str(absolute), absolute.name, absolute)
    snapshot = cached_snapshot(model, revision, environ)
    name = model.split("/")[-1]
    if snapshot is None:
        return Located(model, "hub", "uncached", model, name, None)
    state: State = "present" if os.path.exists(snapshot / "config.json") else "incomplete"
    return Located(model, "hub", state, model, name, snapshot)


def _state(path: Path) -> State:
    if not path.is_dir():
        return "not-a-directory"
    return "present" if os.access(path, os.R_OK | os.X_OK) else "unreadable"


def is_repo_id(text: str) -> bool:
    """Whether ``text`` has the form of a repository id; old ones have no owner (``bert-base-uncased``)."""
    return _REPO_ID.match(text) is not None


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """The hub cache, as ``huggingface_hub/constants.py`` finds it."""
    return _cache(environ, cache_variable(environ))


def cache_variable(environ: Mapping[str, str] = os.environ) -> str | None:
    """The variable that says where the hub cache is, None where it lies in its usual place."""
    return next((variable for variable in _CACHE_VARIABLES if environ.get(variable)), None)


def other_caches(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Hub caches that a program of this user with other variables may have filled, without the one in use."""
    places = [_cache(environ, variable) for variable in _CACHE_VARIABLES if environ.get(variable)]
    if environ.get("TRANSFORMERS_CACHE"):
        places.append(Path(os.path.expandvars(environ["TRANSFORMERS_CACHE"])).expanduser())
    used = cache_directory(environ)
    return [
        place for place in dict.fromkeys([*places, _cache(environ, None)]) if place != used and os.path.isdir(place)
    ]


def _cache(environ: Mapping[str, str], variable: str | None) -> Path:
    place = Path(os.path.expandvars(environ[variable]) if variable else "~/.cache").expanduser()
    if variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        return place
    return place / "hub" if variable == "HF_HOME" else place / "huggingface" / "hub"


def cached_snapshot(repo_id: str, revision: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The snapshot of a repository that is in the cache, or None."""
    revision = revision or "main"
    repository = cache_directory(environ) / ("models--" + repo_id.replace("/", "--"))
    if not _REVISION.match(revision) or ".." in revision:
        return None
    commit = revision
    with contextlib.suppress(OSError, UnicodeDecodeError):
        commit = (repository / "refs" / revision).read_text(encoding="utf-8").strip() or revision
    snapshot = repository / "snapshots" / commit
    return snapshot if re.fullmatch(r"[\w.-]+", commit) and os.path.isdir(snapshot) else None


def is_loadable(snapshot: Path | None) -> bool:
    """Whether a cached snapshot has all that the loader looks for: the hub need not be asked."""
    if snapshot is None or not (snapshot / "config.json").is_file():
        return False
    shards: set[str] = set()
    for index in snapshot.glob("*.index.json"):
        try:
            shards |= set(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            continue
    there = {file.name for pattern in ("*.safetensors", "*.npz") for file in snapshot.glob(pattern) if file.is_file()}
    return bool(there) and all(shard in there for shard in shards if "/" not in shard)


def offline_by_user(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user's own environment forbids the network."""
    return any(environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def assert_facts(
    memory: WorkingMemory, located: Located, category: str | None, environ: Mapping[str, str] = os.environ
) -> None:
    """Assert the ``target`` fact."""
    memory.add(
        "target",
        Provenance("target", str(located.directory) if located.directory else None),
        model=located.model,
        source=located.source,
        state=located.state,
        name=located.name,
        path=str(located.directory) if located.directory else None,
        category=category or "tts",
        offline_by_user=offline_by_user(environ),
    )
