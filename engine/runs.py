"""Saved runs: what ``why`` and ``why-not`` are asked about.

A run is its JSON report, one file each in the user's state directory (``MLX_DIAGNOSE_HOME``
moves it). File names begin with the time, so the last one sorts last; only the newest
:data:`KEPT` stay. Saving is a courtesy: where it is not possible, a diagnosis goes on.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from mlx_diagnose.engine.model import Report, UsageError
from mlx_diagnose.engine.report.json import InvalidReport, from_json, to_json

HOME_VARIABLE = "MLX_DIAGNOSE_HOME"
LAST = "last"
KEPT = 50

# Without vowels, so that no id is a word, and without what looks alike.
_ALPHABET = "23456789bcdfghjkmnpqrstvwxz"
_ID_LENGTH = 6
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-\w+\.json")


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory for what outlives a run; it need not exist.

    Raises RuntimeError if there is no home directory to put it in.
    """
    given = environ.get(HOME_VARIABLE)
    if given:
        return Path(given).expanduser()
    from platformdirs import user_state_path  # 25 ms: only where something is saved or read

    path = user_state_path("mlx-diagnose", appauthor=False)
    if not path.is_absolute():  # an unresolved ~ would become a folder of that name right here
        raise RuntimeError("there is no home directory")
    return path


def new_id() -> str:
    """A short id for a run, such as ``k7f3qz``: one of 387 million."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def save(report: Report, directory: Path | None = None) -> Report:
    """Save ``report`` under its run id and return it with ``saved_at`` (UTC, ISO 8601).

    Where the directory (:func:`home` unless given) cannot be written, ``saved_at`` is None.
    """
    now = datetime.now(timezone.utc)
    saved = replace(report, saved_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"))
    try:
        folder = _folder(directory)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps(to_json(saved), ensure_ascii=True, allow_nan=False)
        write_atomically(folder / f"{now:%Y%m%dT%H%M%S.%fZ}-{report.run_id}.json", text)
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return replace(report, saved_at=None)
    for path in _files(folder)[:-KEPT]:
        with suppress(OSError):  # another process was quicker
            path.unlink()
    return saved


def load(run: str, directory: Path | None = None) -> Report:
    """The report of ``run``: the id of a saved run, ``last``, or the path of a report file.

    Raises UsageError (``no-such-run``, ``not-a-report``).
    """
    path = _find(run, directory)
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _not_a_report(path, _reason(error)) from None
    try:
        return from_json(document)
    except InvalidReport as error:
        raise _not_a_report(path, str(error)) from None


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Write ``text`` as UTF-8 so that ``path`` is the old file or the new one, never half of it.

    ``mode`` is that of a new file. Raises OSError; nothing is left behind then.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:50]}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _folder(directory: Path | None) -> Path:
    return (home() if directory is None else directory) / "runs"


def _files(folder: Path) -> list[Path]:
    """Saved runs, oldest first."""
    return sorted(path for path in folder.glob("*.json") if _NAME.fullmatch(path.name))


def _id(path: Path) -> str:
    return path.stem.rpartition("-")[2]


def _find(run: str, directory: Path | None) -> Path:
    try:
        saved = _files(_folder(directory))
    except (OSError, RuntimeError):
        saved = []
    if run == LAST and saved:
        return saved[-1]
    for path in reversed(saved):
        if _id(path) == run:
            return path
    with suppress(OSError, ValueError):  # a name that no file can have
        if Path(run).exists():
            return Path(run)
    recent = ", ".join(_id(path) for path in reversed(saved[-5:]))
    if run == LAST:
        what, why = "No run has been saved yet.", f"Runs are kept in {_place(directory)}, and it holds none."
    else:
        what, why = f"There is no run {run!r}.", "It is neither the id of a saved run nor a report file."
    raise UsageError(
        "no-such-run",
        what,
        why=why,
        next_step=f"Recent runs: {recent}." if recent else "Diagnose a model first: diagnose MODEL.",
    )


def _place(directory: Path | None) -> str:
    try:
        return str(_folder(directory))
    except RuntimeError:
        return "your state directory"


def _not_a_report(path: Path, why: str) -> UsageError:
    return UsageError(
        "not-a-report",
        f"{path} is not a report that can be read.",
        why=f"Reason: {why}.",
        next_step="A report file is what `diagnose MODEL --json -o FILE` writes.",
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it nests too deeply" if isinstance(error, RecursionError) else f"it is no JSON ({error})"
