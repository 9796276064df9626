"""The JSON side of the loopback hub: what is said about repositories, and its errors.

Shapes follow https://huggingface.co/docs/hub/api and what ``huggingface_hub/hf_api.py`` reads.
"""

from __future__ import annotations

from typing import Any

from tests.hub.repositories import Content, Repository, is_lfs, xet_hash


def file_entry(repository: Repository, path: str, content: Content) -> dict[str, Any]:
    """A file as tree and paths-info list it."""
    lfs = is_lfs(path, content)
    entry: dict[str, Any] = {"type": "file", "oid": content.blob_id(lfs), "size": content.size, "path": path}
    if lfs:
        entry["lfs"] = {"oid": content.sha256, "size": content.size, "pointerSize": len(content.pointer())}
        if repository.xet:
            entry["xetHash"] = xet_hash(content)
    return entry


def tree(repository: Repository, commit: str, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below ``folder``, folders before what they hold."""
    files = repository.commits[commit]
    prefix = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, content in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            parent = prefix + "/".join(parts[:depth])
            entries.setdefault(parent, {"type": "directory", "oid": "0" * 40, "size": 0, "path": parent})
        if recursive or len(parts) == 1:
            entries[path] = file_entry(repository, path, content)
    return list(entries.values())


def info(repository: Repository, commit: str, blobs: bool = False) -> dict[str, Any]:
    """A repository as ``/api/models/ID`` tells it; with ``blobs`` the sizes of its files too."""
    siblings = []
    for path, content in sorted(repository.commits[commit].items()):
        sibling: dict[str, Any] = {"rfilename": path}
        if blobs:
            lfs = is_lfs(path, content)
            sibling |= {"size": content.size, "blobId": content.blob_id(lfs)}
            if lfs:
                pointer = len(content.pointer())
                sibling["lfs"] = {"sha256": content.sha256, "size": content.size, "pointerSize": pointer}
        siblings.append(sibling)
    told = {
        **listed(repository),
        "author": repository.id.split("/")[0],
        "sha": commit,
        "disabled": repository.disabled,
        "usedStorage": sum(content.size for content in repository.commits[commit].values()),
        "siblings": siblings,
    }
    if repository.card:
        told["cardData"] = repository.card
    return told


def listed(repository: Repository) -> dict[str, Any]:
    """A repository as ``/api/models?search=`` lists it."""
    told: dict[str, Any] = {
        "_id": "0" * 24,
        "id": repository.id,
        "modelId": repository.id,
        "private": repository.private,
        "gated": repository.gated,
        "tags": repository.tags,
        "downloads": 7,
        "likes": 1,
        "createdAt": "2025-01-01T00:00:00.000Z",
        "lastModified": "2025-01-02T00:00:00.000Z",
    }
    if repository.library_name:
        told["library_name"] = repository.library_name
    return told


def refs(repository: Repository) -> dict[str, Any]:
    """Branches of a repository."""
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit} for name, commit in repository.refs.items()
    ]
    return {"branches": branches, "tags": [], "converts": []}


#: Errors as huggingface.co sends them: status, X-Error-Code, X-Error-Message.
INVALID_TOKEN = (401, None, "Invalid credentials in Authorization header")
NOT_FOUND_ANONYMOUS = (401, "RepoNotFound", "Invalid username or password.")
NOT_FOUND = (404, "RepoNotFound", "Repository not found")
REVISION_NOT_FOUND = (404, "RevisionNotFound", "Invalid rev id: {revision}")
ENTRY_NOT_FOUND = (404, "EntryNotFound", "Entry not found")
DISABLED = (403, None, "Access to this resource is disabled.")
GATED_ANONYMOUS = (
    401,
    "GatedRepo",
    "Access to model {id} is restricted. You must have access to it and be authenticated to access it. Please log in.",
)
GATED_NOT_ACCEPTED = (
    403,
    "GatedRepo",
    "Access to model {id} is restricted and you are not in the authorized list."
    " Visit https://huggingface.co/{id} to ask for access.",
)
