"""Several models after each other: which ones a word names, and what became of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_diagnose.engine.model import DiagnoseError, ExitCode, Report, UsageError
from mlx_diagnose.engine.options import Options

#: Models that one word can stand for.
MAX_MODELS = 2_000
#: Exit codes from the best to the worst.
_RANKS = (
    ExitCode.LOADS,
    ExitCode.INCONCLUSIVE,
    ExitCode.FAILURE,
    ExitCode.USAGE,
    ExitCode.INVALID_RULES,
    ExitCode.INTERNAL,
)


@dataclass(frozen=True, slots=True)
class Scanned:
    """One model of a scan: its report, or the error that kept it from being examined."""

    model: str
    report: Report | None = None
    error: DiagnoseError | None = None


def models_of(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[str]:
    """The models that ``words`` name; without words those of the hub cache.

    A folder without a config.json stands for the models in it, one or two levels down, the hub
    cache's own folder for its repositories. Raises UsageError where there is none.
    """
    from mlx_diagnose.collectors.hub_nearest import cached_ids
    from mlx_diagnose.collectors.target import cache_directory

    cache = cache_directory(environ)
    found: dict[str, None] = {}
    for word in words or [str(cache)]:
        path = Path(word).expanduser()
        if not path.is_dir() or (path / "config.json").exists():
            found[word] = None
            continue
        is_cache = os.path.realpath(path) == os.path.realpath(cache)
        inside = sorted(cached_ids(path)) if is_cache else [str(folder) for folder in _folders(path)]
        if not inside:
            if not is_cache and cached_ids(path):
                raise UsageError(
                    "another-cache",
                    f"{word} is a hub cache, but not the one in use.",
                    why=f"The cache in use is {cache}.",
                    next_step=f"HF_HUB_CACHE={word} diagnose scan",
                )
            raise UsageError(
                "no-models",
                f"There is no model in {word}.",
                why="A model is a folder with config.json or weights; two levels are looked through.",
                next_step="Give the folder that holds the models, or their ids.",
            )
        found.update(dict.fromkeys(inside[:MAX_MODELS]))
    return list(found)


def _folders(top: Path, levels: int = 2) -> Iterator[Path]:
    """The model directories below ``top``, in order of their names; what lies in a model is its own."""
    try:
        below = sorted(entry.name for entry in os.scandir(top) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    for name in below[:MAX_MODELS]:
        folder = top / name
        if _is_model(folder):
            yield folder
        elif levels > 1:
            yield from _folders(folder, levels - 1)


def _is_model(folder: Path) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return True  # that it cannot be read is worth telling
    return "config.json" in names or any(name.endswith(".safetensors") for name in names)


def scan(models: Sequence[str], options: Options, progress: Callable[[str], None]) -> Iterator[Scanned]:
    """Diagnose one model after the other; an error with one is told, and does not keep the others from it.

    Raises DiagnoseError for what concerns all of them: rules that are invalid, say.
    """
    from mlx_diagnose.engine import bundled

    for number, model in enumerate(models, start=1):

        def said(what: str, number: int = number, model: str = model) -> None:
            progress(f"{number} of {len(models)}, {model}: {what}")

        try:
            yield Scanned(model, bundled.diagnose(replace(options, model=model), said))
        except UsageError as error:
            if len(models) == 1:
                raise
            yield Scanned(model, error=error)


def worst(codes: Sequence[int]) -> int:
    """The exit code of a scan: a failure that is known weighs more than one that is not."""
    return max(codes, key=_RANKS.index, default=ExitCode.LOADS)
