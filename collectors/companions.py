"""Which other repositories and files a family wants, at which stage, from which line, and whether they are there.

Found in the source, so that they are known before a load reaches them; what a load did reach for
is laid over it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mlx_diagnose.collectors.companion_expressions import UNDECIDED
from mlx_diagnose.collectors.companion_flow import CompanionFlow, Wish
from mlx_diagnose.collectors.companion_values import Key, Place
from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.exception_docs import documents
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.source_world import World
from mlx_diagnose.collectors.target import cached_snapshot, is_repo_id
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance, stage_index

What = Literal["repo", "file"]

#: Files that make a tokenizer or processor, as transformers looks for them; one of each group is enough.
_PARTS: Mapping[str, Sequence[str]] = {
    "Tokenizer": ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json"),
    "FeatureExtractor": ("preprocessor_config.json", "processor_config.json"),
    "ImageProcessor": ("preprocessor_config.json", "processor_config.json"),
    "Processor": ("preprocessor_config.json", "processor_config.json"),
    "Config": ("config.json",),
}
_DATA = (".json", ".safetensors", ".npz", ".model", ".txt", ".yaml", ".yml", ".bin", ".pt", ".pth", ".wav", ".npy")


@dataclass(frozen=True, slots=True)
class Companion:
    """A repository (``name`` its id, ``items`` files of it) or a file of the model directory.

    ``stage`` None: only when the model is used. ``config_path`` is the key that names it;
    ``default``: the key is not given, and its default stands in. ``tested``: the code asks first
    whether it is there. ``swallowed``: it goes on without.
    """

    what: What
    name: str
    stage: str | None
    file: str
    line: int
    by_file: str
    by_line: int
    reader: str
    tested: bool
    swallowed: bool
    config_path: str | None = None
    default: bool = False
    items: tuple[str, ...] = field(default=())


def describe(
    mlx_audio_dir: Path,
    category: str,
    family: str,
    *,
    config: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    search_path: Sequence[str] = (),
) -> list[Companion]:
    """The companions of ``mlx_audio/<category>/models/<family>`` for this config and directory, by its source.

    Without a config, those that the defaults name; without a directory, those of every way through
    the code. Never raises for what the sources hold.
    """
    world = World([mlx_audio_dir.parent, *(Path(entry) for entry in search_path if entry)])
    module = world.module(f"mlx_audio.{category}.models.{family}")
    if module is None:
        return []

    def value(key: Key) -> Any:
        found = value_at(config, key.path) if config is not None else None
        if found is not None or (config is not None and key.default is None):
            return found
        return UNDECIDED if key.default is None else json.loads(key.default)

    def exists(inside: str) -> bool | None:
        return None if directory is None else (directory / inside).exists()

    flow = CompanionFlow(world, module, value, exists)
    with contextlib.suppress(RecursionError):
        flow.follow()
    return _merged(_companions(flow.wishes.values(), value, config))


def _companions(wishes: Iterable[Wish], value: Any, config: Mapping[str, Any] | None) -> Iterable[Companion]:
    for wish in wishes:
        target = wish.target
        item: tuple[str, ...] = ()
        path, default = None, False
        if isinstance(target, Place):
            if target.repo is not None:
                item, target = (target.inside,), target.repo
            elif wish.what == "file" and (_is_data(target.inside) or not wish.tested):
                yield _companion(wish, "file", target.inside)
                continue
            else:
                continue
        if isinstance(target, Key):
            name, path = value(target), target.path
            default = config is not None and value_at(config, target.path) is None
        else:
            name = target.text
        if isinstance(name, str) and is_repo_id(name):
            yield _companion(wish, "repo", name, path, default, item)


def _companion(
    wish: Wish,
    what: What,
    name: str,
    path: str | None = None,
    default: bool = False,
    items: tuple[str, ...] = (),
) -> Companion:
    return Companion(
        what,
        name,
        wish.stage,
        wish.file,
        wish.line,
        wish.by_file,
        wish.by_line,
        wish.reader,
        wish.tested,
        wish.swallowed,
        path,
        default,
        items,
    )


def _is_data(name: str) -> bool:
    return name.endswith((*_DATA, ">"))


def _merged(found: Iterable[Companion]) -> list[Companion]:
    """One for each repository and file: where it is wanted first and for certain, with all the files asked for."""
    by_name: dict[tuple[str, str], list[Companion]] = {}
    for companion in found:
        by_name.setdefault((companion.what, companion.name), []).append(companion)
    merged = []
    for same in by_name.values():
        first = min(same, key=lambda c: (c.stage is None, c.tested, c.swallowed))
        items = tuple(dict.fromkeys(item for c in same if c.stage == first.stage for item in c.items if item))
        merged.append(replace(first, items=items))
    return merged


def collect(
    memory: WorkingMemory,
    found: Sequence[Companion],
    run: LoadRun,
    *,
    directory: Path | None,
    model: str,
    started: bool,
    offline_by_us: bool,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Assert ``companion`` facts: of ``found``, and of what the load reached for on the hub.

    ``started``: a load was run; ``model`` is the target, which is no companion of itself.
    """
    reached: dict[str, Mapping[str, Any]] = {}
    for asked in run.reaches:
        repo = asked["target"]
        if asked["what"] != "hub" or repo == model or not is_repo_id(repo):
            continue
        # One that failed tells more than one that was found.
        if repo not in reached or asked["outcome"] != "found":
            reached[repo] = asked
    known = {companion.name for companion in found if companion.what == "repo"}
    broken = _broken(found, run)
    for companion in found:
        if companion.name == model:
            continue
        met = reached.get(companion.name) if companion.what == "repo" else None
        ahead = met is None and _is_ahead(companion, run, started)
        broke = companion.stage is not None and (companion.file, companion.line) in broken
        _assert(memory, companion, met, state_of(companion, directory, environ), ahead, offline_by_us, broke=broke)
    for name, reach in reached.items():
        if name not in known:
            companion = Companion(
                "repo", name, reach["stage"], reach["file"] or "", reach["line"] or 0, "", 0, "", False, False
            )
            _assert(memory, companion, reach, state_of(companion, directory, environ), False, offline_by_us, "live")


def _broken(found: Sequence[Companion], run: LoadRun) -> set[tuple[str, int]]:
    """Lines that read a companion and that a failure left: by themselves, or in the rest of their function.

    The rest counts of a ``from_pretrained`` that the family calls for one companion, and for the last
    line that read something.
    """
    wanted = [companion for companion in found if companion.stage is not None]
    lines = {(companion.file, companion.line) for companion in wanted}
    left = set()
    for raised, frame in ((doc, frame) for doc in documents(run.chain) for frame in doc.frames):
        if frame.line is None:
            continue
        if (frame.file, frame.line) in lines:
            left.add((frame.file, frame.line))
            continue
        before = [
            companion.line
            for companion in wanted
            if (companion.file, companion.by_file) != (frame.file, frame.file)
            # What is no JSON was no array either.
            and (companion.name.endswith(".json") or not raised.is_a("JSONDecodeError"))
            and companion.file == frame.file
            and companion.line < frame.line
            and companion.reader.rpartition(".")[2] == "from_pretrained" == frame.function.rpartition(".")[2]
        ]
        if before:
            left.add((frame.file, max(before)))
    return left


def _is_ahead(companion: Companion, run: LoadRun, started: bool) -> bool:
    if companion.stage is None or run.loads:
        return False
    if not started or run.failed_stage is None:
        return True
    came, wanted = stage_index(run.failed_stage), stage_index(companion.stage)
    # Of the stage that failed it is only known that the hub was not asked.
    return wanted > came or (wanted == came and companion.what == "repo")


def _assert(
    memory: WorkingMemory,
    companion: Companion,
    reach: Mapping[str, Any] | None,
    state: str,
    ahead: bool,
    offline_by_us: bool,
    found_by: str | None = None,
    *,
    broke: bool = False,
) -> None:
    if reach is not None and reach["outcome"] not in ("found", "not-cached"):
        state = "not-cached" if state != "cached" else state
    folder, _, part = companion.name.rpartition("/")
    name, items = companion.name, [item for item in companion.items if not item.endswith(">")]
    if companion.what == "file" and part.startswith("<"):
        items = [f"{folder}/{item}" if folder else item for item in _PARTS.get(part.strip("<>"), ())]
        if not items:
            return
        name = items[0]
    memory.add(
        "companion",
        Provenance("companions", companion.file or None, companion.line or None, companion.config_path),
        what=companion.what,
        name=name,
        items=", ".join(items) or None,
        stage=companion.stage,
        file=companion.file,
        line=companion.line or None,
        reader=companion.reader or None,
        by_file=companion.by_file or None,
        by_line=companion.by_line or None,
        found_by=found_by or ("both" if reach is not None else "static"),
        state=state,
        config_path=companion.config_path,
        defaulted=companion.default,
        tested=companion.tested,
        swallowed=companion.swallowed,
        ahead=ahead,
        broke=broke,
        offline_by_us=offline_by_us and state in ("not-cached", "partial"),
    )


def state_of(companion: Companion, directory: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """cached, partial (a file of it that is asked for is not there) or not-cached; present or absent; unknown."""
    if companion.what == "repo":
        snapshot = cached_snapshot(companion.name, None, environ)
        if snapshot is None:
            return "not-cached"
        wanted = [item for item in companion.items if not item.endswith(">")]
        return (
            "partial" if any(not (snapshot / item).exists() for item in wanted) and not companion.tested else "cached"
        )
    if directory is None:
        return "unknown"
    folder, _, part = companion.name.rpartition("/")
    if part.startswith("<"):
        wanted = list(_PARTS.get(part.strip("<>"), ()))
        return "present" if not wanted or any((directory / folder / name).exists() for name in wanted) else "absent"
    return "present" if (directory / companion.name).exists() else "absent"
