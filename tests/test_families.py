"""Every family of mlx-audio has a whole specimen, and the real loader loads it, or fails as is on record.

Each process here is a fresh interpreter that loads the specimens of many families, one after the
other, with ``mlx_audio.tts.utils.load_model(path, lazy=True, strict=True)``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mlx_diagnose.knowledge_base.configurations import known_good, known_good_configurations
from tests.specimens import SIZES, Size, configuration, families, make_specimen, recipe
from tests.specimens.hub import environment
from tests.specimens.recipe import Specimen

ROOT = Path(__file__).parents[1]
BASES = {"published", "class-defaults", "recalled", "minimal"}


def installed_families() -> list[str]:
    """The families of the mlx-audio that is installed, without importing it."""
    spec = find_spec("mlx_audio")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "tts" / "models"
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("__"))


def surprises(specimens: list[Specimen], home: Path) -> list[str]:
    """What did not go as it should: one line a specimen, from one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.specimens.check", *(str(specimen.path) for specimen in specimens)],
        cwd=ROOT,
        env={**os.environ, **environment(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == len(specimens), f"the loader's process ended with {done.returncode}: {done.stderr[-2000:]}"
    found = []
    for specimen, outcome in zip(specimens, outcomes, strict=True):
        seen, text = outcome["exception"], outcome["message"] or ""
        expected = specimen.fails
        good = seen == expected.exception and expected.message in text if expected else seen is None
        if not good:
            wanted = expected or "it to load"
            found.append(f"{specimen.family} ({specimen.size}): expected {wanted}, got {seen}: {text}")
    return found


def whole(size: Size, slow: bool, directory: Path) -> list[str]:
    """Surprises with the specimens of all families that are ``slow`` to load, or of all that are not."""
    home = directory / "huggingface"
    chosen = [family for family in families() if recipe(family).slow is slow]
    specimens = [make_specimen(family, directory / family, size=size, hub=home) for family in chosen]
    for specimen in specimens:
        entry = known_good(specimen.family)
        assert entry is not None
        assert [file for file in entry.files if not (specimen.path / file).is_file()] == [], specimen.family
        used = sum(path.stat().st_blocks * 512 for path in specimen.path.rglob("*"))
        assert used < 12_000_000, f"{specimen.family} takes {used} bytes on disk"
    return surprises(specimens, home)


@pytest.mark.parametrize("size", SIZES)
def test_whole_specimens_load(size: Size, tmp_path: Path) -> None:
    assert whole(size, False, tmp_path) == []


@pytest.mark.long
@pytest.mark.parametrize("size", SIZES)
def test_whole_specimens_with_large_codecs_load(size: Size, tmp_path: Path) -> None:
    assert whole(size, True, tmp_path) == []


def test_every_installed_family_has_a_specimen() -> None:
    assert families() == installed_families()


@pytest.mark.parametrize("family", families())
def test_the_knowledge_base_says_what_a_load_needs(family: str) -> None:
    entry, made = known_good(family), recipe(family)
    assert entry is not None
    assert entry.basis in BASES
    assert bool(entry.models) or entry.basis in {"minimal", "class-defaults"}
    assert entry.config() == configuration(family, "full")
    assert entry.companions == tuple(repository.id for repository in made.companions)
    assert (entry.needs, entry.swallowed) == (made.needs, made.absent)


def test_the_index_has_no_other_entries() -> None:
    assert sorted(family for _, family in known_good_configurations()) == families()
    shipped = {entry.path.name for entry in known_good_configurations().values()}
    folder = ROOT / "knowledge_base" / "configurations" / "tts"
    assert {path.name for path in folder.glob("*.json") if not path.name.endswith(".tensors.json")} == shipped
