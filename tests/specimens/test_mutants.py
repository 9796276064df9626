"""The truth about mutants: what is broken keeps the real loader from loading, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.specimens import families, make_specimen, recipe
from tests.specimens.catalogue import OF_QUANTISED, mutants, tolerated
from tests.specimens.mutants import Mutant, kinds, mutate, quantised
from tests.specimens.recipe import Specimen

ROOT = Path(__file__).parents[2]
QUICK = ("soprano", "kokoro", "dia")


def exceptions(specimens: list[Specimen]) -> list[str | None]:
    """The type of the exception that the real loader raises for each, None where it loads; a process a cache."""
    found: dict[Path, str | None] = {}
    by_home: defaultdict[Path, list[Specimen]] = defaultdict(list)
    for specimen in specimens:
        by_home[specimen.hub].append(specimen)
    for group in by_home.values():
        done = subprocess.run(
            [sys.executable, "-m", "tests.specimens.check", *(str(specimen.path) for specimen in group)],
            cwd=ROOT,
            env={**os.environ, **group[0].environment},
            capture_output=True,
            text=True,
            check=False,
        )
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(outcomes) == len(group), done.stderr[-2000:]
        found |= {specimen.path: outcome["exception"] for specimen, outcome in zip(group, outcomes, strict=True)}
    return [found[specimen.path] for specimen in specimens]


def surprises(made: list[Mutant]) -> list[str]:
    """Mutants that load although they should not, and the other way round."""
    seen = exceptions([mutant.specimen for mutant in made])
    return [
        f"{mutant.specimen.family} {mutant.kind} ({mutant.what}): {exception}"
        for mutant, exception in zip(made, seen, strict=True)
        if (exception is None) is not tolerated(mutant)
    ]


@pytest.mark.parametrize("family", QUICK)
def test_mutants_fail_to_load(family: str, tmp_path: Path) -> None:
    assert surprises(list(mutants(make_specimen(family, tmp_path), tmp_path / "mutants"))) == []


@pytest.mark.long
@pytest.mark.parametrize("family", [name for name in families() if name not in QUICK and not recipe(name).slow])
def test_mutants_of_other_families_fail_to_load(family: str, tmp_path: Path) -> None:
    if recipe(family).fails:
        pytest.skip(f"{recipe(family).fails}")
    assert surprises(list(mutants(make_specimen(family, tmp_path), tmp_path / "mutants"))) == []


def test_quantised_specimens_load_whole(tmp_path: Path) -> None:
    home = tmp_path / "huggingface"
    made = [
        quantised(make_specimen(family, tmp_path / family, hub=home), tmp_path / f"{family}-{bits}", bits=bits)
        for family in OF_QUANTISED
        for bits in (4, 8)
    ]
    assert exceptions(made) == [None] * len(made)
    assert all(any(name.endswith(".scales") for name in specimen.tensors) for specimen in made)


def test_a_mutant_tells_the_truth_and_leaves_the_original_alone(tmp_path: Path) -> None:
    whole = make_specimen("soprano", tmp_path)
    before = (whole.path / "config.json").read_bytes()
    mutant = mutate(whole, "key-renamed", tmp_path / "mutant", path="hidden_size", to="n_embd")
    assert mutant.truth.failure_class == "config/renamed-key"
    assert mutant.truth.subjects == ("hidden_size", "n_embd")
    assert mutant.specimen.path.name == whole.path.name
    config = json.loads((mutant.specimen.path / "config.json").read_text())
    assert config["n_embd"] == whole.config["hidden_size"]
    assert "hidden_size" not in config
    assert (whole.path / "config.json").read_bytes() == before


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no mutation 'no-such'"):
        mutate(make_specimen("soprano", tmp_path), "no-such", tmp_path)
    assert "mutate" not in kinds()
    assert {"key-missing", "tensor-dropped", "quantization-bits"} <= kinds().keys()
