"""Whether the word given as MODEL can be one."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches

from mlx_diagnose.engine.model import UsageError

#: One half of ``org/name`` (``huggingface_hub/utils/_validators.py::validate_repo_id``).
_HALF = r"[A-Za-z0-9_](?:[\w.-]{0,94}[\w])?"
_REPO_ID = re.compile(rf"{_HALF}/{_HALF}", re.ASCII)
_URL = re.compile(r"https?://[^/]+/(?P<id>[^/\s]+/[^/\s?#]+)")


def check_model(model: str) -> None:
    """Raise UsageError for what is neither a hub id nor an existing path, with what was probably meant."""
    if "\0" in model or not model.strip():
        raise UsageError("not-a-model", "MODEL is empty or holds a NUL.", next_step=_FORMS)
    url = _URL.match(model)
    if url:
        raise UsageError(
            "url-as-model",
            f"{model} is an address, not a model.",
            why="A hub model is named by its id.",
            next_step=f"diagnose {url['id']}",
        )
    path = os.path.expanduser(model)
    if os.path.lexists(path) and not os.path.exists(path) and os.path.islink(path):
        raise UsageError(
            "broken-link",
            f"{model} is a link to nothing.",
            why=f"It leads to {os.readlink(path)}, which is not there.",
            next_step="Mend the link, or give the directory itself.",
        )
    try:
        os.stat(path)
    except PermissionError:
        raise UsageError(
            "path-denied",
            f"{model} may not be looked at.",
            why="A directory above it may not be entered by this user.",
            next_step="Run diagnose as a user who may read the model, or change the permissions.",
        ) from None
    except (OSError, ValueError):  # absent, or a name that no file can have
        pass
    else:
        return
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UsageError(
            "no-such-path",
            f"There is no {model} here.",
            why="What begins with `.`, `/` or `~`, or has more than one slash, is a local path.",
            next_step=_did_you_mean(model) or "Check the path. A hub model is named org/name.",
        )
    if not _REPO_ID.fullmatch(model) or "--" in model or ".." in model or model.endswith(".git"):
        raise UsageError(
            "not-a-model",
            f"{model!r} is no directory here, and cannot be a hub id.",
            why=_why_not_an_id(model),
            next_step=_did_you_mean(model) or _FORMS,
        )


_FORMS = "Give a hub id such as mlx-community/Kokoro-82M-bf16, or a local directory such as ./my-model."


def _why_not_an_id(model: str) -> str:
    if "/" not in model:
        return "A hub id has an organisation and a name: org/name."
    return "In org/name both parts are letters, digits, `_`, `.` and `-` (not doubled, not at an end), 96 at most."


def _did_you_mean(model: str) -> str:
    """The existing path that is nearest: as far as its parents exist, then the name most alike."""
    parts = model.split("/")
    at = next((at for at in range(len(parts)) if not _exists("/".join(parts[: at + 1]) or "/")), None)
    if at is None:
        return ""
    try:
        names = sorted(os.listdir(os.path.expanduser("/".join([*parts[:at], ""])) or "."))
    except OSError:
        return ""
    # Case first: some file systems ignore it, and a path from there fails here.
    near = [name for name in names if name.lower() == parts[at].lower()]
    near = near or get_close_matches(parts[at], names, n=3, cutoff=0.6)
    meant = ["/".join([*parts[:at], name, *parts[at + 1 :]]) for name in near]
    return f"Did you mean {' or '.join(meant)}?" if meant else ""


def _exists(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))
