"""The state of the hub cache: what of a repository is there, what is not whole, what a download would still need.

No network and no client: everything is read from the cache on disk, so that a model that is
cached is diagnosed offline, and one that is not whole is told with the command that completes it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlx_diagnose.collectors import allow_patterns, hub_files, hub_folder, model_ids, weight_formats, weight_index
from mlx_diagnose.collectors.hub_files import Checked
from mlx_diagnose.collectors.hub_folder import RepositoryFolder
from mlx_diagnose.collectors.target import cache_directory, cache_variable, other_caches
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Facts a state of files, and files that a command names one by one.
MAX_FACTS = 50
MAX_NAMED = 8

Role = Literal["target", "companion"]


@dataclass(frozen=True, slots=True)
class Request:
    """A repository to look at.

    ``patterns`` are those with which it is downloaded (None if not known), ``suspects`` its
    weights files that are unsound, ``thorough`` looks at the headers of all of them. ``folder``
    is what the cache held before something was fetched into it.
    """

    repo: str
    role: Role = "target"
    revision: str | None = None
    patterns: Sequence[str] | None = None
    suspects: frozenset[str] = frozenset()
    thorough: bool = False
    folder: RepositoryFolder | None = None


@dataclass(frozen=True, slots=True)
class _Missing:
    """Files that the snapshot lacks, with their sizes where known. ``unnamed``: some whose names are not known."""

    sizes: Mapping[str, int | None] = field(default_factory=dict)
    wanted_by: Mapping[str, str] = field(default_factory=dict)
    unnamed: int = 0

    @property
    def count(self) -> int:
        return len(self.sizes) + self.unnamed

    @property
    def bytes(self) -> int | None:
        if self.unnamed or any(size is None for size in self.sizes.values()):
            return None
        return sum(size or 0 for size in self.sizes.values())


def collect(memory: WorkingMemory, requests: Iterable[Request], environ: Mapping[str, str] = os.environ) -> None:
    """Assert ``hub_cache``, and for each repository ``cached_repository`` and what belongs to it. Never raises."""
    cache = cache_directory(environ)
    free = _free(cache)
    _assert_cache(memory, cache, free, environ)
    for request in requests:
        folder = request.folder or hub_folder.read(cache, request.repo, request.revision)
        _assert_repository(memory, request, folder, free)
        if folder.snapshot is None:
            _assert_elsewhere(memory, request, environ)


def _assert_cache(memory: WorkingMemory, cache: Path, free: int | None, environ: Mapping[str, str]) -> None:
    exists = os.path.isdir(cache)
    memory.add(
        "hub_cache",
        Provenance("hub_cache", str(cache)),
        path=clean(str(cache)),
        quoted=clean(shlex.quote(str(cache))),
        exists=exists,
        readable=not exists or os.access(cache, os.R_OK | os.X_OK),
        writable=os.access(_existing(cache), os.W_OK | os.X_OK),
        chosen_by=cache_variable(environ),
        free_bytes=free,
    )


def _existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    return next((folder for folder in (path, *path.parents) if os.path.exists(folder)), path)


def _free(cache: Path) -> int | None:
    try:
        return shutil.disk_usage(_existing(cache)).free
    except OSError:
        return None


def _assert_repository(memory: WorkingMemory, request: Request, folder: RepositoryFolder, free: int | None) -> None:
    patterns = request.patterns if request.patterns is not None else allow_patterns.CORE
    missing = _missing(request, folder, patterns)
    checked = list(hub_files.check(folder, thorough=request.thorough, suspects=request.suspects))
    damaged = [found for found in checked if found.state != "as-published"]
    state = _state(folder, missing, damaged)
    held, stale = (0, 0) if state == "complete" else hub_folder.locks(folder.path.parent, request.repo)
    others = [commit for commit in folder.snapshots if commit != folder.commit]
    writable = not folder.exists or os.access(folder.path, os.W_OK | os.X_OK)
    memory.add(
        "cached_repository",
        Provenance("hub_cache", str(folder.snapshot or folder.path)),
        repo=folder.repo,
        role=request.role,
        state=state,
        revision=clean(folder.revision, 200),
        ref=folder.ref,
        commit=folder.commit,
        path=clean(str(folder.path)),
        quoted=clean(shlex.quote(str(folder.path))),
        locks=clean(shlex.quote(str(hub_folder.locks_folder(folder.path.parent, folder.repo)))),
        problem=clean(folder.problem, 200) if folder.problem else None,
        other_revision=_other_revision(folder, others),
        others=len(others),
        listed=folder.listing is not None,
        missing=missing.count,
        missing_bytes=missing.bytes,
        damaged=len(damaged),
        partial=len(folder.partial),
        partial_bytes=sum(folder.partial.values()),
        downloading=held > 0,
        stale_locks=stale,
        copies=bool(folder.files) and not any(file.blob for file in folder.files.values()),
        fits=None if missing.bytes is None or free is None else missing.bytes <= free,
        writable=writable,
        fetch=_arguments(folder, list(missing.sizes) if not missing.unnamed else []),
        refetch=_arguments(folder, [found.file for found in damaged]),
    )
    _assert_missing(memory, request, folder, missing)
    _assert_checked(memory, request, folder, checked)
    _assert_left_out(memory, request, folder, patterns)
    _assert_marks(memory, request, folder)


def _state(folder: RepositoryFolder, missing: _Missing, damaged: Sequence[Checked]) -> str:
    if folder.problem is not None:
        return "unreadable"
    if folder.snapshot is not None:
        return "damaged" if damaged else "incomplete" if missing.count else "complete"
    if folder.ref in ("empty", "malformed"):
        return "bad-ref"
    if folder.ref == "ok":
        return "no-snapshot"
    if folder.snapshots:
        return "no-ref" if folder.revision == "main" and not folder.refs else "other-revision"
    return "no-snapshot" if folder.partial else "uncached"


def _other_revision(folder: RepositoryFolder, others: Sequence[str]) -> str | None:
    """A revision that is cached, by the name of its branch where it has one; the one that was made last."""
    if not others:
        return None
    branches = {commit.strip(): name for name, commit in folder.refs.items()}

    def made(commit: str) -> float:
        try:
            return os.stat(folder.path / "snapshots" / commit).st_mtime
        except OSError:
            return 0.0

    latest = max(others, key=lambda commit: (commit in branches, made(commit), commit))
    return clean(branches.get(latest, latest), 200)


def _missing(request: Request, folder: RepositoryFolder, patterns: Sequence[str]) -> _Missing:
    """What the loader needs of the repository and the snapshot does not have."""
    if folder.snapshot is None:
        return _Missing()
    if folder.listing is not None:
        sizes: dict[str, int | None] = {
            name: listed.size
            for name, listed in folder.listing.items()
            if name not in folder.files and allow_patterns.matches(name, patterns)
        }
        return _Missing(sizes, dict.fromkeys(sizes, "listing"))
    wanted: dict[str, str] = {}
    if request.role == "target":
        wanted["config.json"] = "loader"
    for index in [name for name in folder.files if name.endswith(".index.json")]:
        shards = weight_index.read_index(folder.snapshot / index)
        wanted.update((f"{index.rpartition('/')[0]}/{shard.file}".lstrip("/"), index) for shard in shards)
    at_top = [name for name in folder.files if "/" not in name]
    wanted.update((shard.file, "numbers") for shard in weight_index.numbered_shards(at_top))
    absent = {
        name: by
        for name, by in wanted.items()
        if name not in folder.files and hub_folder.is_inside(name) and name not in folder.marked_absent
    }
    # The name of a file that never came is not known; that no weights came at all shows.
    weights = any(weight_formats.format_of(folder.snapshot / name) for name in folder.files)
    unnamed = 0 if weights or absent.keys() - {"config.json"} else max(1, len(folder.partial))
    return _Missing(dict.fromkeys(absent), absent, unnamed)


def _arguments(folder: RepositoryFolder, files: Sequence[str]) -> str:
    """What to give ``hf download`` for ``files`` of the very commit; for all of it if there are none or many."""
    named = (
        sorted(files)
        if len(files) <= MAX_NAMED and all(re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]+", f) for f in files)
        else []
    )
    commit = folder.commit or (folder.revision if folder.revision != "main" else None)
    words = [folder.repo, *named, *(["--revision", commit] if commit and folder.ref != "malformed" else [])]
    return " ".join(shlex.quote(word) for word in words)


def _assert_missing(memory: WorkingMemory, request: Request, folder: RepositoryFolder, missing: _Missing) -> None:
    # What the load cannot do without stands first, should facts run out.
    order = sorted(missing.sizes, key=lambda name: (name != "config.json", not _weights(name), name))
    for name in order[:MAX_FACTS]:
        _assert_file(
            memory,
            request,
            folder,
            Checked(name, "absent", expected_size=missing.sizes[name]),
            wanted_by=missing.wanted_by[name],
        )


def _assert_checked(
    memory: WorkingMemory, request: Request, folder: RepositoryFolder, checked: Sequence[Checked]
) -> None:
    for found in checked[:MAX_FACTS]:
        _assert_file(memory, request, folder, found, wanted_by=None)


def _assert_file(
    memory: WorkingMemory, request: Request, folder: RepositoryFolder, found: Checked, *, wanted_by: str | None
) -> None:
    on_disk = folder.files.get(found.file)
    blob = on_disk.blob if on_disk is not None else None
    memory.add(
        "cached_file",
        Provenance("hub_cache", str(on_disk.path) if on_disk is not None else str(folder.snapshot)),
        repo=folder.repo,
        role=request.role,
        file=clean(found.file),
        state=found.state,
        weights=_weights(found.file),
        wanted_by=clean(wanted_by) if wanted_by is not None else None,
        size=found.size,
        expected_size=found.expected_size,
        blob=clean(blob.name) if blob is not None else None,
        detail=clean(found.detail, 500) if found.detail else None,
    )


def _weights(name: str) -> bool:
    return name.endswith((".safetensors", ".npz", ".safetensors.index.json"))


def _assert_left_out(
    memory: WorkingMemory, request: Request, folder: RepositoryFolder, patterns: Sequence[str]
) -> None:
    """The files of the repository that the loader's own patterns never download, of those kinds that a load reads."""
    if folder.listing is None or request.patterns is None:
        return
    for name in allow_patterns.left_out(folder.listing, patterns)[: 4 * MAX_FACTS]:
        if _HOUSEKEEPING.search(name):
            continue
        memory.add(
            "left_out_file",
            Provenance("hub_cache", str(folder.path)),
            repo=folder.repo,
            file=clean(name),
            name=clean(name.rpartition("/")[2]),
            size=folder.listing[name].size,
            present=name in folder.files,
            fetch=_arguments(folder, [name]),
        )


#: Files that no load reads, whoever downloads them.
_HOUSEKEEPING = re.compile(
    r"(^|/)(\.gitattributes|\.gitignore|LICENSE[^/]*|[^/]*\.(md|png|jpe?g|gif|svg|pdf|mp4|html))$", re.I
)


def _assert_marks(memory: WorkingMemory, request: Request, folder: RepositoryFolder) -> None:
    for name in sorted(folder.marked_absent)[:MAX_FACTS]:
        listed = folder.listing is not None and name in folder.listing
        mark = str(folder.path / ".no_exist" / str(folder.commit) / name)
        memory.add(
            "marked_absent",
            Provenance("hub_cache", mark),
            repo=folder.repo,
            file=clean(name),
            contradicted=listed or name in folder.files,
            path=clean(shlex.quote(mark)),
        )


def assert_folder(memory: WorkingMemory, directory: Path) -> None:
    """Assert ``cache_folder`` if the model ``directory`` is that of a repository in a hub cache, not a snapshot."""
    meant = model_ids.read_as(directory.name)
    if meant is not None and directory.name == hub_folder.folder_name(meant.repo):
        folder = hub_folder.read(directory.parent, meant.repo, None)
        if folder.snapshots:
            memory.add(
                "cache_folder",
                Provenance("hub_cache", str(directory)),
                path=clean(str(directory)),
                repo=meant.repo,
                snapshots=len(folder.snapshots),
            )


def _assert_elsewhere(memory: WorkingMemory, request: Request, environ: Mapping[str, str]) -> None:
    """Other caches of this user that have the repository: a program with other variables downloaded it."""
    for cache in other_caches(environ):
        other = hub_folder.read(cache, request.repo, request.revision)
        if other.snapshot is not None:
            memory.add(
                "cached_elsewhere",
                Provenance("hub_cache", str(other.snapshot)),
                repo=request.repo,
                role=request.role,
                cache=clean(str(cache)),
                assignment=clean(f"HF_HUB_CACHE={shlex.quote(str(cache))}"),
                whole="config.json" in other.files,
            )
