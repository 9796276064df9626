"""Specimens: cheap but real model directories of every text-to-speech family of mlx-audio.

``make_specimen("kokoro", tmp_path)`` writes config.json, weights and side files as a published
repository has them, and the companion repositories into a private Hugging Face cache; the real,
unmodified loader loads it (``tests/test_families.py``), or fails as ``specimen.fails`` says.
``mutate(specimen, ...)`` (``tests.specimens.mutants``) breaks one thing and says what.

Nothing here imports MLX: names and shapes were worked out by ``tests.specimens.generate``.
"""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from mlx_diagnose.engine.specimen import Body, write_safetensors
from tests.specimens import hub as hub_cache
from tests.specimens import tables
from tests.specimens.recipe import Files, Recipe, Specimen, merged

Size = Literal["small", "full"]
SIZES: tuple[Size, ...] = ("small", "full")

_HERE = Path(__file__).parent
#: Random values at the start of each tensor; enough for code that looks at them, and no more.
_RANDOM_BYTES = 4096
_CONFIGURATIONS = _HERE.parents[1] / "knowledge_base" / "configurations" / "tts"


def families() -> list[str]:
    """Every family that has a recipe, in order of name."""
    return sorted(file.stem for file in (_HERE / "recipes").glob("*.py"))


@cache
def recipe(family: str) -> Recipe:
    """The recipe of ``family``. Raises ModuleNotFoundError when there is none."""
    found = importlib.import_module(f"tests.specimens.recipes.{family}").RECIPE
    assert isinstance(found, Recipe)
    return found


def configuration(family: str, size: Size) -> dict[str, Any]:
    """config.json of ``family``: the known-good one, or a small model of the same keys."""
    config: dict[str, Any] = json.loads((_CONFIGURATIONS / f"{family}.json").read_text(encoding="utf-8"))
    return merged(config, recipe(family).small) if size == "small" else config


def make_specimen(
    family: str,
    directory: Path,
    *,
    size: Size = "small",
    body: Body | None = None,
    hub: Path | None = None,
    seed: int = 0,
) -> Specimen:
    """Write a specimen of ``family`` under ``directory`` and describe it.

    The model directory is ``directory/<name of a published repository>``; companion
    repositories go to the HF_HOME ``hub`` (``directory/huggingface`` unless told; it may be
    shared). Bodies are random in small specimens and holes in full ones unless told.
    """
    made = recipe(family)
    config = configuration(family, size)
    files = tables.read(f"{family}.{size}")
    path = directory / made.name
    home = directory / "huggingface" if hub is None else hub
    body = body or ("random" if size == "small" else "hole")
    write_directory(made, config, path, home)
    write_weights(path, files, body=body, seed=seed)
    return Specimen(
        family=family,
        size=size,
        path=path,
        hub=home,
        config=config,
        files=files,
        body=body,
        fails=made.fails,
        environment=hub_cache.environment(home),
    )


def write_directory(made: Recipe, config: dict[str, Any], path: Path, home: Path) -> None:
    """Everything of a specimen but its own weights."""
    path.mkdir(parents=True, exist_ok=True)
    (home / "hub").mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    made.side_files(path, config)
    for repository in made.companions:
        snapshot = hub_cache.snapshot(home, repository.id)
        repository.write(snapshot)
        if repository.table is not None:
            write_weights(snapshot, tables.read(repository.table), body="hole")


def write_weights(path: Path, files: Files, *, body: Body, seed: int = 0) -> None:
    """The weights ``files`` under ``path``."""
    for file, tensors in files.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(
            path / file, tensors, metadata={"format": "pt"}, body=body, seed=seed, random_bytes=_RANDOM_BYTES
        )
