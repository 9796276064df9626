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
        if expected is None:
            good = seen is None
        else:
            good = seen == expected.exception and expected.message in text
        if not good:
            found.append(
                f"{specimen.family} ({specimen.size}): expected {expected or 'it to load'}, got {seen}: {text}"
            )
    return found


@pytest.mark.parametrize("size", SIZES)
def test_whole_specimens_load(size: Size, tmp_path: Path) -> None:
    home = tmp_path / "huggingface"
    specimens = [
        make_specimen(family, tmp_path / family, size=size, hub=home)
        for family in families()
        if not recipe(family).slow
    ]
    assert surprises(specimens, home) == []


@pytest.mark.long
@pytest.mark.parametrize("size", SIZES)
def test_whole_specimens_with_large_codecs_load(size: Size, tmp_path: Path) -> None:
    home = tmp_path / "huggingface"
    specimens = [
        make_specimen(family, tmp_path / family, size=size, hub=home) for family in families() if recipe(family).slow
    ]
    assert surprises(specimens, home) == []


def test_every_installed_family_has_a_specimen() -> None:
    assert families() == installed_families()


@pytest.mark.parametrize("family", families())
def test_the_knowledge_base_says_what_a_load_needs(family: str, tmp_path: Path) -> None:
    entry, made = known_good(family), recipe(family)
    assert entry is not None
    assert entry.basis in BASES
    assert bool(entry.models) or entry.basis in {"minimal", "class-defaults"}
    assert entry.config() == configuration(family, "full")
    assert entry.companions == tuple(repository.id for repository in made.companions)
    assert (entry.needs, entry.swallowed) == (made.needs, made.absent)
    specimen = make_specimen(family, tmp_path)
    for file in entry.files:
        assert (specimen.path / file).is_file(), file


def test_the_index_has_no_other_entries() -> None:
    assert sorted(family for _, family in known_good_configurations()) == families()
    shipped = {entry.path for entry in known_good_configurations().values()}
    folder = ROOT / "knowledge_base" / "configurations" / "tts"
    assert {path for path in folder.glob("*.json") if not path.name.endswith(".tensors.json")} == shipped


@pytest.mark.parametrize("family", families())
def test_full_specimens_cost_next_to_nothing(family: str, tmp_path: Path) -> None:
    specimen = make_specimen(family, tmp_path, size="full")
    used = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert used < 3_000_000
    weights = sum((specimen.path / file).stat().st_size for file in specimen.files)
    assert weights > used
