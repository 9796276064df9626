"""A model that is only on the hub: its files, its small files fetched, and the headers of its weights.

What comes of it is a scratch directory for the patient's own loader
(:mod:`~mlx_diagnose.collectors.hub_scratch`), so that a model of any size is diagnosed for some
100 kB. Small files go to the user's ordinary cache as the client itself puts them there. A
reference of the cache that names another commit is left as it is: the older snapshot may be
complete, and an offline load depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import allow_patterns, hub_archives, hub_headers, hub_jobs, hub_names, hub_variants
from mlx_diagnose.collectors.hub_client import HubClient
from mlx_diagnose.collectors.hub_folder import Listed, RepositoryFolder
from mlx_diagnose.collectors.hub_headers import Header
from mlx_diagnose.collectors.hub_problems import HubFailure, Problem, of_exception
from mlx_diagnose.collectors.hub_quiet import quiet
from mlx_diagnose.collectors.hub_scratch import ScratchCache, ScratchRepository, folder_name

#: Requests that are spent on a model of three shards before it is loaded; what the load then asks for comes on top.
REQUESTS = 20
#: Share of the bytes of small files that may be asked for in vain, so that a header comes with the first request.
_SPARE = 0.06
_MOST_FIRST = 1 << 18
#: Files of a repository that are looked at.
MAX_FILES = 20_000
MAX_OTHERS = 100
MAX_COMPLETED = 16
_README = 1 << 18


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub lists it; ``size`` in bytes, None where it does not tell."""

    name: str
    size: int | None


@dataclass
class RemoteModel:
    """A repository, what was fetched of it, and what went wrong.

    ``problem`` is why nothing can be said of the repository, ``gaps`` why something cannot be
    said of a file. ``scratch`` is None where there is nothing to load.
    """

    repo: str
    role: str = "model"
    revision: str | None = None
    #: What the patient's mlx-audio downloads of it; None for everything.
    patterns: tuple[str, ...] | None = None
    info: Any = None
    commit: str | None = None
    files: tuple[RemoteFile, ...] = ()
    unsafe: tuple[str, ...] = ()
    scratch: ScratchRepository | None = None
    problem: Problem | None = None
    gaps: dict[str, Problem] = field(default_factory=dict)
    fetched: dict[str, Path] = field(default_factory=dict)
    #: Other repositories of the owner: of like name, or all that could have been meant.
    others: list[str] = field(default_factory=list)
    headers: dict[str, Header] = field(default_factory=dict)

    @property
    def left_out(self) -> list[RemoteFile]:
        """The files that a download of mlx-audio leaves out."""
        if self.patterns is None:
            return []
        names = set(allow_patterns.left_out((file.name for file in self.files), self.patterns))
        return [file for file in self.files if file.name in names]

    @property
    def weights(self) -> list[RemoteFile]:
        """The weights files that the loader reads: safetensors, else npz, at the top."""
        tops = [file for file in self.files if hub_names.is_read_by_loader(file.name)]
        return tops or [file for file in self.files if hub_names.is_archive(file.name) and "/" not in file.name]

    @property
    def is_known(self) -> bool:
        """Whether there is something to load. Weights that did not come end a load where it reads them."""
        return "config.json" not in self.gaps


def examine(
    client: HubClient,
    repo: str,
    revision: str | None,
    cache: ScratchCache,
    *,
    role: str = "model",
    item: str | None = None,
    patterns: tuple[str, ...] | None = None,
) -> RemoteModel:
    """Look at a repository and lay out in ``cache`` what a download with ``patterns`` takes.

    Of a companion of which one file is wanted, ``item``, only that is fetched. Raises nothing for what the hub does.
    """
    model = RemoteModel(repo, role, revision, patterns)
    with quiet():
        # As a job: an answer that drips in keeps every read short, and would never end.
        (found,) = hub_jobs.run_all([partial(client.info, repo, revision)], client.deadline)
        if isinstance(found, BaseException):
            model.problem = of_exception(found, client.host)
            if model.problem.outcome == "not-found" and role == "model":
                hub_jobs.run_all([partial(_search, client, model, "")], client.deadline)
            return model
        model.info = found
        _list(model)
        if item is None:
            _fetch(client, model)
        else:
            _get(client, model, [file for file in model.files if file.name == item], {}, model.commit or "")
        if model.is_known:
            _lay_out(model, cache)
    return model


def complete(
    client: HubClient, repo: str, folder: RepositoryFolder
) -> tuple[Mapping[str, Listed] | None, frozenset[str]]:
    """The files that the hub has at the commit of a cached snapshot, and the names of those that were fetched into it.

    Small files that a load may read are fetched where the snapshot lacks them. None where the hub does not tell.
    """
    model = RemoteModel(repo, revision=folder.commit)
    with quiet():
        (found,) = hub_jobs.run_all([partial(client.info, repo, folder.commit)], client.deadline)
        if isinstance(found, BaseException) or found.sha != folder.commit:
            return None, frozenset()
        model.info = found
        _list(model)
        wanted = [
            file for file in model.files if file.name not in folder.files and hub_names.is_small(file.name, file.size)
        ]
        came = _get(client, model, wanted[:MAX_COMPLETED], {}, str(folder.commit))
    listing = {file.name: Listed(file.size, None, None) for file in model.files if file.size is not None}
    return listing, frozenset(came)


def fetch_more(client: HubClient, model: RemoteModel, names: Iterable[str]) -> bool:
    """Fetch files that the load asked for into the scratch directory; whether one of them came."""
    assert model.scratch is not None
    asked = set(names)
    wanted = [
        file
        for file in model.files
        if file.name in asked
        and hub_names.is_fetched_on_demand(file.name, file.size)
        and model.scratch.is_held(file.name)
    ]
    with quiet():
        came = _get(client, model, wanted, {}, model.commit or "")
    for name in came:
        _lay(model, name)
    return bool(came)


def _list(model: RemoteModel) -> None:
    model.commit = str(model.info.sha)
    siblings = list(model.info.siblings or ())[:MAX_FILES]
    names = [str(sibling.rfilename) for sibling in siblings]
    model.unsafe = tuple(name for name in names if not hub_names.is_safe(name))
    model.files = tuple(
        RemoteFile(name, sibling.size if isinstance(sibling.size, int) else None)
        for name, sibling in zip(names, siblings, strict=True)
        if hub_names.is_safe(name)
    )


def _fetch(client: HubClient, model: RemoteModel) -> None:
    """config.json and the index first: they say what else to ask for, and how much."""
    commit = model.commit or ""
    present = frozenset(file.name for file in model.files)
    order = {file.name: hub_names.priority(file.name, present) for file in model.files}
    small = sorted(
        (file for file in model.files if order[file.name] is not None and hub_names.is_small(file.name, file.size)),
        key=lambda file: (order[file.name] or 0, file.name),
    )
    first = [file for file in small if (order[file.name] or 0) < 2]
    # By its name, the revision gets its reference in the cache, as with any download; see above.
    named = model.revision or "main"
    plain = hub_names.is_safe(named) and not _has_reference(client.cache, model.repo, named)
    as_asked = named if plain else commit
    before = client.meter.requests
    for file in first[:1]:
        _get(client, model, [file], {}, as_asked)
    each = max(client.meter.requests - before, 2)
    _get(client, model, first[1:], {}, commit)
    left = REQUESTS - client.meter.requests - 2 * len(model.weights)
    asked = small[len(first) :]
    rest = [file for at, file in enumerate(asked) if at < left // each or hub_names.is_read_natively(file.name)]
    names = _indexed(model)
    spare = int(_SPARE * sum(file.size or 0 for file in [*first, *rest]) / max(len(model.weights), 1))
    guesses = {
        file.name: hub_headers.estimate(names[file.name], file.size or 0)
        if names.get(file.name)
        else min(max(spare, hub_headers.FIRST), _MOST_FIRST)
        for file in model.weights
    }
    left = REQUESTS - client.meter.requests - 2 * len(model.weights) - each * len(rest)
    if left > each and model.role == "model":
        rest += [file for file in model.files if file.name == "README.md" and (file.size or 0) <= _README]
        left -= each
    searching = left > 0 and model.role == "model"
    also = [partial(_search, client, model, hub_variants.stem(model.repo.split("/")[-1]))] if searching else []
    _get(client, model, [*model.weights, *rest], guesses, commit, also)


def _get(
    client: HubClient,
    model: RemoteModel,
    files: Sequence[RemoteFile],
    guesses: dict[str, int],
    revision: str,
    also: Sequence[Callable[[], None]] = (),
) -> list[str]:
    """Fetch small files whole and of weights the headers, side by side, and do ``also``; names of what came."""
    commit = model.commit or ""

    def small(file: RemoteFile) -> Path:
        return client.download(model.repo, file.name, revision)

    weights = {file.name for file in model.weights}

    def header(file: RemoteFile) -> Header:
        if hub_names.is_archive(file.name):
            return hub_archives.fetch(client, model.repo, commit, file.name, file.size)
        first = guesses.get(file.name, hub_headers.FIRST)
        return hub_headers.fetch(client, model.repo, commit, file.name, file.size, first)

    jobs = [
        partial(header if file.name in weights or hub_names.is_read_by_header(file.name, file.size) else small, file)
        for file in files
    ]
    came = []
    results: list[Header | Path | BaseException | None] = hub_jobs.run_all([*jobs, *also], client.deadline)
    for file, result in zip(files, results, strict=False):
        if isinstance(result, BaseException):
            model.gaps[file.name] = of_exception(result, client.host)
            continue
        model.gaps.pop(file.name, None)
        came.append(file.name)
        if isinstance(result, Header):
            model.headers[file.name] = result
        elif isinstance(result, Path):
            model.fetched[file.name] = result
    return came


def _search(client: HubClient, model: RemoteModel, words: str) -> None:
    """Other repositories of the same owner whose names hold ``words``."""
    owner = model.repo.split("/")[0] if "/" in model.repo else None
    try:
        found = client.search(words, owner, MAX_OTHERS)
    except HubFailure:
        return  # a convenience
    model.others = [str(other.id) for other in found if hub_names.is_repository(str(other.id))]


def _has_reference(cache: Path, repo: str, revision: str) -> bool:
    return (cache / folder_name(repo) / "refs" / revision).exists()


def _indexed(model: RemoteModel) -> dict[str, list[str]]:
    """Names of tensors by file, as the index of a checkpoint in shards says."""
    names: dict[str, list[str]] = {}
    for file, path in model.fetched.items():
        if not file.endswith(".index.json"):
            continue
        try:
            for name, shard in json.loads(path.read_text(encoding="utf-8"))["weight_map"].items():
                names.setdefault(str(shard), []).append(str(name))
        except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
            continue
    return names


def _lay_out(model: RemoteModel, cache: ScratchCache) -> None:
    model.scratch = cache.repository(model.repo, model.commit or "", model.revision)
    left_out = {file.name for file in model.left_out}
    for file in model.files:
        if file.name in left_out:
            continue
        if file.name in model.fetched or file.name in model.headers:
            _lay(model, file.name)
        elif not hub_names.is_hidden(file.name):
            model.scratch.hold(file.name, file.size)


def _lay(model: RemoteModel, name: str) -> None:
    assert model.scratch is not None
    if name in model.headers:
        model.scratch.ghost(model.headers[name])
    else:
        model.scratch.link(name, model.fetched[name])
