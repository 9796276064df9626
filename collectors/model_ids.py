"""What a word that is no model was probably meant to be: a repository written another way, or a path.

People paste addresses of pages, names of cache folders, ids with a revision; Windows writes
backslashes. None of that is an id, and the loader would take it for a repository that is not there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: One half of ``org/name`` (``huggingface_hub/utils/_validators.py::validate_repo_id``).
_HALF = r"[A-Za-z0-9_](?:[\w.-]{0,94}[\w])?"
_REPO_ID = re.compile(rf"{_HALF}/{_HALF}", re.ASCII)
_PAGE = re.compile(
    r"(?:hf:(?://)?|(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|https?://[^/\s]+/|git@hf\.co:)"
    r"(?:(?P<kind>datasets|spaces|models|api/models)/)?(?P<rest>.*)"
)
_IN_PAGE = re.compile(
    r"(?P<id>[^/\s?#]+/[^/\s?#@]+)(?:@(?P<at>[^/\s?#]+))?(?:/(?:tree|blob|resolve|raw|commit)/(?P<revision>[^/\s?#]+))?"
)
#: The end of such an address, without its host.
_PAGE_PATH = re.compile(r"[^/\s]+/[^/\s]+/(?:tree|blob|resolve|raw|commit)/\S+")
_CACHE_FOLDER = re.compile(
    r"(?:^|[/\\])models--(?P<org>[\w.-]+?)--(?P<name>[\w.-]+?)(?:[/\\]snapshots[/\\](?P<commit>[0-9a-f]{40}))?(?:[/\\].*)?$"
)
_SUFFIX = re.compile(r"(?P<id>[^@:#\s]+/[^@:#\s]+)[@:#](?P<revision>[\w./-]+)")

#: A form of :class:`Meant`.
ADDRESS = "the address of a page"


@dataclass(frozen=True, slots=True)
class Meant:
    """The repository that a word was probably meant to name; ``form`` says what the word is."""

    repo: str
    form: str
    revision: str | None = None


def is_id(word: str) -> bool:
    """Whether ``word`` can be the id of a repository: ``org/name``."""
    return bool(_REPO_ID.fullmatch(word)) and "--" not in word and ".." not in word and not word.endswith(".git")


def read_as(word: str) -> Meant | None:
    """The repository that ``word``, which is no id, names in another way; None if it does not."""
    text = word.strip().strip("\"'`<>").strip()
    page = _PAGE.fullmatch(f"hf:{text}" if _PAGE_PATH.fullmatch(text) else text)
    if page is not None:
        if page["kind"] in ("datasets", "spaces"):
            return None
        from urllib.parse import unquote

        inside = _IN_PAGE.match(unquote(page["rest"]))
        if inside is None:
            return None
        revision = inside["revision"] or inside["at"]
        return _meant(inside["id"].removesuffix(".git"), ADDRESS, None if revision == "main" else revision)
    folder = _CACHE_FOLDER.search(text)
    if folder is not None:
        return _meant(f"{folder['org']}/{folder['name']}", "a folder of the hub cache", folder["commit"])
    suffix = _SUFFIX.fullmatch(text)
    if suffix is not None and is_id(suffix["id"]):
        return _meant(suffix["id"], "an id with a revision in it", suffix["revision"])
    plain = re.sub(r"\s+", "", text).replace("\\", "/")
    plain = re.sub(r"/{2,}", "/", plain).strip("/").removeprefix("models/").removesuffix(".git")
    if plain == word:
        return None
    form = (
        "a Windows path"
        if "\\" in word
        else "an id with a space in it"
        if re.search(r"\s", word)
        else "an id with a slash too many"
    )
    return _meant(plain, form if ".git" not in word else "the address of a git repository", None)


def _meant(repo: str, form: str, revision: str | None) -> Meant | None:
    return Meant(repo, form, revision) if is_id(repo) else None


def near_paths(path: str) -> list[str]:
    """The paths nearest to ``path``: as far as its parents exist, then the names that are most alike, then its rest."""
    from difflib import get_close_matches

    parts = path.split("/")
    at = next((at for at in range(len(parts)) if not _exists("/".join(parts[: at + 1]) or "/")), None)
    if at is None:
        return []
    try:
        names = sorted(os.listdir(os.path.expanduser("/".join([*parts[:at], ""])) or "."))
    except OSError:
        return []
    # Case first: some file systems ignore it, and a path from there fails here.
    near = [name for name in names if name.lower() == parts[at].lower()]
    near = near or get_close_matches(parts[at], names, n=3, cutoff=0.6)
    return ["/".join([*parts[:at], name, *parts[at + 1 :]]) for name in near]


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def collect(memory: WorkingMemory, model: str) -> None:
    """Assert ``path_lookalike`` for a hub id with nothing in the cache, if its first part is a folder here."""
    parent = model.split("/")[0]
    if os.path.isdir(parent):
        near = [path for path in near_paths(model) if os.path.isdir(path)]
        memory.add(
            "path_lookalike",
            Provenance("model_ids"),
            model=model,
            parent=parent,
            nearest=f"./{near[0]}" if near else None,
            parent_path=os.path.abspath(parent),
        )
