"""Entries of the registry made of what loaded, and entries loaded again as specimens."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from mlx_diagnose.adapters import registry
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_copy import LEFT_OUT, files_of
from mlx_diagnose.adapters.registry import Entry
from mlx_diagnose.collectors.interpreter import choose
from mlx_diagnose.collectors.load import LoadRun, blocking_reach
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine import runs
from mlx_diagnose.engine.model import Report, UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.specimen import write_safetensors, write_tokenizer

_HOW = "loaded lazily and strictly by mlx-audio's own loader, in a fresh process (loading is proven, not sound)"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_MOST_FILES = 500


def folder() -> Path:
    """Where the user's entries are: the data directory of this tool, or below ``MLX_DIAGNOSE_HOME``.

    Raises RuntimeError if there is no home directory to put it in.
    """
    if os.environ.get(runs.HOME_VARIABLE):
        return runs.home() / "registry"
    from platformdirs import user_data_path

    path = user_data_path("mlx-diagnose", appauthor=False)
    if not path.is_absolute():
        raise RuntimeError("there is no home directory")
    return path / "registry"


def entry_of(report: Report, directory: Path, mend: Mend | None = None) -> Entry:
    """The entry for the model in ``directory``, which ``report`` says loads, or which loads with ``mend``.

    Raises UnwritableError or OSError where its files cannot be read.
    """
    config = json.loads((directory / "config.json").read_bytes())
    tensors, collapsed = registry.table_of(directory)
    names = [str(file.relative_to(directory)) for file in files_of(directory)]
    side = [name for name in names if not name.endswith(".safetensors")]
    packages = dict(report.patient.packages)
    if report.patient.python:
        packages["Python"] = report.patient.python
    done = mend or Mend()
    return Entry(
        id=registry.entry_id(report.target.model),
        model=report.target.model,
        category=report.target.category or "tts",
        family=report.target.family,
        config=config,
        tensors=tensors,
        collapsed=collapsed,
        digest=registry.digest_of(tensors, collapsed),
        packages=packages,
        how=_HOW,
        verified_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        directory=str(directory),
        files=tuple(name for name in side if name != "config.json")[:_MOST_FILES],
        mend={}
        if done.empty
        else {
            "config_patch": list(done.config_patch),
            "weight_map": list(done.weight_map),
            "shims": list(done.shims),
            **({"copies": dict(done.copies)} if done.copies else {}),
            **({"environment": dict(done.environment)} if done.environment else {}),
        },
    )


def find(name: str) -> Entry:
    """The entry ``name``: the user's, else a built-in one. Raises UsageError where there is none."""
    known = {entry.id: entry for entry in registry.built_in()}
    with suppress(RuntimeError):
        known |= {entry.id: entry for entry in registry.entries(folder())[0]}
    entry = known.get(name) or known.get(registry.entry_id(name))
    if entry is None:
        from mlx_diagnose.engine.rulebase.problems import did_you_mean

        raise UsageError(
            "no-such-entry",
            f"The registry has no entry {name!r}.",
            why=did_you_mean(name, known),
            next_step="`diagnose registry list` names those that there are.",
        )
    return entry


def verify(entry: Entry, options: Options) -> LoadRun:
    """Load a specimen made from ``entry``: its config, hollow weights of its tensors, its side files where they are.

    Values are zeros. An entry without tensors comes as far as its config makes the model.
    """
    from mlx_diagnose.engine.patients import start

    with tempfile.TemporaryDirectory(prefix="diagnose-entry-") as scratch:
        path = Path(scratch, entry.model.rstrip("/").rsplit("/", 1)[-1] or "model")
        path.mkdir()
        (path / "config.json").write_text(json.dumps(entry.config), encoding="utf-8")
        for file, tensors in entry.weights().items():
            place = _inside(path, file)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_safetensors(place, tensors, metadata={"format": "mlx"})
        _side_files(entry, path)
        located = Located(str(path), "directory", "present", str(path), path.name, path)
        options = replace(options, category=entry.category)
        run = LoadRun()
        # A family that fetches a codec while it is imported says nothing of the entry without it.
        for shims in ((), ("codec-when-used",)):
            with start(options, choose(options.python), located, shims) as process:
                run = LoadRun().take(process.messages())
            if run.failed_stage != "import" or blocking_reach(run) is None:
                break
        return run


def came_to_the_end(entry: Entry, run: LoadRun) -> bool:
    """Whether a load that failed was the entry's own fault: nothing was missing that the registry does not keep."""
    said = " ".join(link["message"] for link in run.chain)
    kept_apart = bool(entry.files) and run.failed_stage == "post_load"
    kept_apart = kept_apart or any(Path(name).name in said for name in entry.files)
    return run.value_read is None and blocking_reach(run) is None and not kept_apart


def _side_files(entry: Entry, path: Path) -> None:
    """Links to the model's own side files while it lies where it lay; else a tokenizer that stands in."""
    origin = Path(entry.directory) if entry.directory is not None else None
    wanted = set(entry.files)
    for name in entry.files:
        source = origin / name if origin is not None else None
        if source is None or not source.is_file() or set(Path(name).parts) & LEFT_OUT:
            continue
        place = _inside(path, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.resolve())
        wanted.discard(name)
    if wanted & set(_TOKENIZER) and not (path / _TOKENIZER[0]).exists():
        write_tokenizer(path, ["[STOP]", "[TEXT]", "[START]"])


def _inside(path: Path, name: str) -> Path:
    """The place of a file of an entry; one that leads out of the specimen is refused."""
    place = path / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UsageError("bad-entry", f"The entry names a file outside of the model: {name}.")
    return place


def keep(entry: Entry) -> Path | None:
    """Write the user's ``entry``; None where that is not possible: a courtesy of ``--fix``."""
    try:
        return registry.write(entry, folder())
    except (OSError, RuntimeError):
        return None


def summary(entry: Entry) -> Mapping[str, object]:
    """An entry in a few fields, for lists."""
    return {
        "id": entry.id,
        "source": entry.source,
        "model": entry.model,
        "category": entry.category,
        "family": entry.family,
        "basis": entry.basis,
        "digest": entry.digest or None,
        "packages": dict(entry.packages),
        "verified_at": entry.verified_at,
        "how": entry.how,
    }
