"""Writes the reproduction of a reduced failure, and runs it once in a fresh process: does it fail in the same way?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine import model_files
from mlx_diagnose.engine.attempts import Attempts
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.reduction import Reduction, loosely
from mlx_diagnose.engine.report.sanitise import redact
from mlx_diagnose.engine.report.view import source_place
from mlx_diagnose.engine.reproduction import Case, script
from mlx_diagnose.engine.runs import write_atomically

SCRIPT, FAILING, PASSING = "reproduce.py", "failing.json", "passing.json"
_OURS = {SCRIPT, FAILING, PASSING}
_NAMED = ("mlx", "mlx-audio", "transformers")


@dataclass(frozen=True, slots=True)
class Emitted:
    """The reproduction: where it was written, and why it does not fail in the same way (None if it does)."""

    path: Path
    why_not: str | None


def folder_for(located: Located, out: Path | None) -> Path:
    """Where the reproduction of a model goes. Raises UsageError for a directory that holds something else."""
    folder = out or Path(f"{located.name}-reduced")
    try:
        others = sorted({entry.name for entry in folder.iterdir()} - _OURS) if folder.exists() else []
    except OSError as error:
        raise _unusable(folder, str(error.strerror or error)) from None
    if others:
        raise _unusable(folder, f"it holds {others[0]!r}, which is none of a reduction's files")
    return folder


def _unusable(folder: Path, why: str) -> UsageError:
    return UsageError(
        "no-directory",
        f"The reproduction cannot go to {folder}.",
        why=f"Reason: {why}.",
        next_step="Give a directory that is empty or does not exist: --out DIR.",
    )


def emit(reduction: Reduction, attempts: Attempts, folder: Path) -> Emitted:
    """Write the reproduction, and the configs as files, into ``folder``, and run it. Raises UsageError."""
    symptom, directory = reduction.symptom, reduction.located.directory
    assert symptom is not None and directory is not None
    config = reduction.raw
    if reduction.reduced is not None:
        config = redact(json.dumps(reduction.reduced, indent=2)).encode()
    files = model_files.read(directory, list(reduction.files))
    place = f" at {source_place(*symptom.place)}" if symptom.place is not None else ""
    told = ", ".join(f"{name} {version}" for name, version in sorted(reduction.versions.items()) if name in _NAMED)
    case = Case(
        name=reduction.located.name,
        config=config,
        module=reduction.loader[0],
        function=reduction.loader[1],
        story=[f"{symptom.stage} raises {symptom.type}{place}:", f"  {symptom.message}", f"with {told}."],
        files=files,
        environment={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if reduction.offline else {},
    )
    path = _write(folder, script(case), reduction)
    refused = [file.name for file in files if file.how == "refused"]
    if refused:
        return Emitted(path, f"it needs {', '.join(refused)}, which is code or a pickle and was not taken along")
    seen = attempts.script(path)
    if loosely(seen) == symptom.loosely():
        return Emitted(path, None)
    how = "it loads" if seen is None else f"{seen.stage} raises {seen.type}: {seen.message[:200]}"
    return Emitted(path, f"run in a fresh process, {how}")


def _write(folder: Path, source: str, reduction: Reduction) -> Path:
    contents = {SCRIPT: source}
    for name, config in ((FAILING, reduction.reduced), (PASSING, reduction.passing)):
        if config is not None:
            contents[name] = redact(json.dumps(config, indent=2)) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            write_atomically(folder / name, text, 0o644)
    except OSError as error:
        raise _unusable(folder, str(error.strerror or error)) from None
    return folder / SCRIPT
