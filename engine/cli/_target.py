"""Whether the word given as MODEL can be one."""

from __future__ import annotations

import os

from mlx_diagnose.collectors import model_ids
from mlx_diagnose.engine.model import UsageError

_FORMS = "Give a hub id such as mlx-community/Kokoro-82M-bf16, or a local directory such as ./my-model."


def check_model(model: str) -> None:
    """Raise UsageError for what is neither a hub id nor an existing path, with what was probably meant."""
    if "\0" in model or not model.strip():
        raise UsageError("not-a-model", "MODEL is empty or holds a NUL.", next_step=_FORMS)
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
    if not model_ids.is_id(model):
        raise _not_a_model(model)


def _not_a_model(model: str) -> UsageError:
    meant = model_ids.read_as(model)
    if "://" in model or (meant is not None and meant.form == model_ids.ADDRESS):
        next_step = _command(meant) if meant is not None else _FORMS
        return UsageError(
            "url-as-model",
            f"{model} is an address, not a model.",
            why="A hub model is named by its id."
            if meant is not None
            else "A hub model is named by its id, and this is no page of one (data sets and spaces are no models).",
            next_step=next_step,
        )
    is_path = model.startswith((".", "/", "~"))
    if is_path or model.count("/") > 1:
        return UsageError(
            "no-such-path",
            f"There is no {model} here.",
            why="What begins with `.`, `/` or `~`, or has more than one slash, is a local path.",
            next_step=_did_you_mean(model, there=True)
            or (_did_you_mean(model) if is_path else "")
            or _other_form(meant)
            or _did_you_mean(model)
            or "Check the path. A hub model is named org/name.",
        )
    return UsageError(
        "not-a-model",
        f"{model!r} is no directory here, and cannot be a hub id.",
        why=f"It looks like {meant.form}." if meant is not None else _why_not_an_id(model),
        next_step=_other_form(meant) or _did_you_mean(model) or _similar(model) or _FORMS,
    )


def _why_not_an_id(model: str) -> str:
    if "/" not in model:
        return "A hub id has an organisation and a name: org/name."
    return "In org/name both parts are letters, digits, `_`, `.` and `-` (not doubled, not at an end), 96 at most."


def _command(meant: model_ids.Meant) -> str:
    return f"diagnose {meant.repo}" + (f" --revision {meant.revision}" if meant.revision else "")


def _other_form(meant: model_ids.Meant | None) -> str:
    """What to type for a repository that was written in another way."""
    return f"Did you mean this? {_command(meant)}" if meant is not None else ""


def _did_you_mean(model: str, *, there: bool = False) -> str:
    """The nearest paths; with ``there`` only those that exist to their end."""
    near = [path for path in model_ids.near_paths(model) if not there or os.path.exists(os.path.expanduser(path))]
    return f"Did you mean {' or '.join(near)}?" if near else ""


def _similar(model: str) -> str:
    """Cached and well-known repositories whose id, or name alone, is like ``model``."""
    from mlx_diagnose.collectors import hub_nearest
    from mlx_diagnose.collectors.target import cache_directory

    if len(model) > 200:
        return ""
    ids = dict.fromkeys([*hub_nearest.cached_ids(cache_directory()), *hub_nearest.known_ids()])
    near = [repo for _, repo in hub_nearest.alike(model, ids) if hub_nearest.same_numbers(model, repo)]
    return f"Did you mean {' or '.join(near)}?" if near else ""
