"""A repository in the hub cache as it lies on disk: refs, snapshots, blobs, the list of its files.

The layout is that of ``huggingface_hub/file_download.py::hf_hub_download``: a snapshot is a
folder of links to blobs, and a blob's name is the ETag of its content (SHA-256 of a file in
large file storage, the git hash of any other). Where links cannot be made, snapshots hold the
files themselves. From release 1.0 on the client also keeps the list of a commit's files, with
their sizes and hashes, in ``trees`` (``huggingface_hub/_tree_cache.py``).

Only the standard library: the client takes longer to import than all of this takes to run.
Nothing that lies there makes this module raise, and what is read is bounded.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

#: Entries that are read of one folder of the cache, in all of its folders below; bytes of a list of files.
MAX_ENTRIES = 20_000
MAX_DEPTH = 8
MAX_LIST = 1 << 25

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[\w./-]+")
_PARTIAL = ".incomplete"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the repository has it. ``sha256`` is known of files in large file storage, ``git`` of others."""

    size: int
    sha256: str | None
    git: str | None


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file of a snapshot. ``blob`` is what its link names, None for a file that is no link."""

    path: Path
    blob: Path | None


@dataclass(frozen=True, slots=True)
class RepositoryFolder:
    """What the cache holds of one repository, for the revision that was asked for.

    ``ref`` says how the revision was found: ok, absent (no such ref), empty, malformed, or
    commit (it was given as one). ``snapshot`` is None where the commit has no folder.
    ``listing`` is the list of files of the commit, None where the client did not keep it.
    ``partial`` are the sizes of unfinished blobs by the name of the blob, ``marked_absent`` the files that the
    client was told are not in the repository. ``problem`` says why the folder cannot be looked at.
    """

    repo: str
    path: Path
    revision: str
    exists: bool = False
    problem: str | None = None
    ref: str = "absent"
    commit: str | None = None
    snapshot: Path | None = None
    snapshots: tuple[str, ...] = ()
    refs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, OnDisk] = field(default_factory=dict)
    listing: Mapping[str, Listed] | None = None
    partial: Mapping[str, int] = field(default_factory=dict)
    marked_absent: frozenset[str] = frozenset()


def folder_name(repo: str) -> str:
    """The folder of a model repository inside the cache."""
    return "models--" + repo.replace("/", "--")


def read(cache: Path, repo: str, revision: str | None) -> RepositoryFolder:
    """What ``cache`` holds of ``repo`` for ``revision`` (the branch ``main`` if None). Never raises."""
    path, asked = cache / folder_name(repo), revision or "main"
    try:
        os.listdir(path)
    except FileNotFoundError:
        return RepositoryFolder(repo, path, asked)
    except OSError as error:
        return RepositoryFolder(repo, path, asked, exists=True, problem=error.strerror or str(error))
    refs = {name: _text(file) for name, file in _walk(path / "refs")}
    ref, commit = _resolve(asked, refs)
    snapshots = tuple(sorted(name for name in _folders(path / "snapshots") if not name.startswith(".")))
    snapshot = path / "snapshots" / commit if commit is not None and commit in snapshots else None
    return RepositoryFolder(
        repo,
        path,
        asked,
        exists=True,
        ref=ref,
        commit=commit,
        snapshot=snapshot,
        snapshots=snapshots,
        refs=refs,
        files={name: _on_disk(file) for name, file in _walk(snapshot)} if snapshot is not None else {},
        listing=_listing(path / "trees" / f"{commit}.json") if commit is not None else None,
        partial=_partial(path / "blobs"),
        marked_absent=frozenset(name for name, _ in _walk(path / ".no_exist" / commit)) if commit else frozenset(),
    )


def with_listing(folder: RepositoryFolder, listing: Mapping[str, Listed]) -> RepositoryFolder:
    """``folder`` with the list of its commit's files from elsewhere."""
    return replace(folder, listing=listing)


def _resolve(revision: str, refs: Mapping[str, str]) -> tuple[str, str | None]:
    """How ``revision`` was found, and the commit it stands for."""
    if _COMMIT.fullmatch(revision):
        return "commit", revision
    if not _REVISION.fullmatch(revision) or ".." in revision or revision not in refs:
        return "absent", None
    commit = refs[revision].strip()
    if not commit:
        return "empty", None
    return ("ok", commit) if re.fullmatch(r"[0-9A-Za-z]{4,64}", commit) else ("malformed", None)


def _folders(path: Path) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                if number == MAX_ENTRIES:
                    return
                if entry.is_dir():
                    yield entry.name
    except OSError:
        return


def _walk(path: Path) -> Iterator[tuple[str, Path]]:
    """The files under ``path``, links too, by their name with slashes. Folders that are links are not entered."""
    ahead: list[tuple[str, Path]] = [("", path)]
    count = 0
    while ahead:
        prefix, folder = ahead.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    count += 1
                    if count > MAX_ENTRIES:
                        return
                    if not entry.is_dir(follow_symlinks=False):
                        yield prefix + entry.name, folder / entry.name
                    elif prefix.count("/") < MAX_DEPTH:
                        ahead.append((f"{prefix}{entry.name}/", folder / entry.name))
        except OSError:
            continue


def _on_disk(path: Path) -> OnDisk:
    try:
        return OnDisk(path, path.parent / os.readlink(path))
    except (OSError, ValueError):
        return OnDisk(path, None)


def _text(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(256)
    except OSError:
        return ""


def _partial(blobs: Path) -> dict[str, int]:
    """Sizes of the unfinished blobs. Newer clients add a random word to the name: the largest of a blob counts."""
    found: dict[str, int] = {}
    try:
        with os.scandir(blobs) as entries:
            for number, entry in enumerate(entries):
                if number == MAX_ENTRIES:
                    break
                if entry.name.endswith(_PARTIAL) and entry.is_file(follow_symlinks=False):
                    etag = re.sub(r"\.[0-9a-f]{8}$", "", entry.name[: -len(_PARTIAL)])
                    found[etag] = max(found.get(etag, 0), entry.stat().st_size)
    except OSError:
        pass
    return found


def _listing(path: Path) -> dict[str, Listed] | None:
    """The list of files that the client kept, None where there is none that can be used."""
    try:
        if path.stat().st_size > MAX_LIST:
            return None
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    files = document.get("files") if isinstance(document, dict) and document.get("format_version") == 1 else None
    if not isinstance(files, dict):
        return None
    listed = {}
    for name, entry in list(files.items())[:MAX_ENTRIES]:
        if not isinstance(entry, dict) or not is_inside(name):
            continue
        sha256 = entry.get("lfs_sha256")
        size = entry.get("lfs_size") if sha256 else entry.get("size")
        if type(size) is int and 0 <= size < 1 << 62:
            git = entry.get("blob_id")
            listed[name] = Listed(size, _word(sha256), None if sha256 else _word(git))
    return listed


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def is_inside(name: str) -> bool:
    """Whether a file of this name lies inside its repository: the name came from the network."""
    parts = PurePosixPath(name).parts
    return bool(parts) and ".." not in parts and parts[0] != "/" and "\\" not in name and "\0" not in name


# -- locks ------------------------------------------------------------------------------------------


def locks_folder(cache: Path, repo: str) -> Path:
    """Where the client locks the blobs of ``repo``."""
    return cache / ".locks" / folder_name(repo)


def locks(cache: Path, repo: str) -> tuple[int, int]:
    """Locks of ``repo`` that a process holds, and soft locks that a process left behind when it died.

    A lock file that nobody holds means nothing: the client never removes them. Where the file system knows no
    locks, the file itself is the lock, with the process in it (``filelock/_soft.py``).
    """
    held = stale = 0
    for number, (name, path) in enumerate(_walk(locks_folder(cache, repo))):
        if number == 256:
            break
        if not name.endswith(".lock"):
            continue
        owner = _text(path).split()
        if owner and owner[0].isdecimal():
            if len(owner) < 2 or owner[1] == socket.gethostname():
                alive = _alive(int(owner[0]))
                held, stale = held + alive, stale + (not alive)
        elif _held(path):
            held += 1
    return held, stale


def _held(path: Path) -> bool:
    if fcntl is None:
        return False
    try:
        with open(path, "rb") as stream:
            # Shared and for a moment only: a download that waits for the lock looks again.
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(stream, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
