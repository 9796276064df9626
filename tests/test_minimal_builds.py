"""Of every family that loads here, a small twin of the model as published is built, its arrays made and evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.collectors import minimal
from mlx_diagnose.engine.memory import WorkingMemory
from tests.specimens import families, make_specimen, recipe
from tests.specimens.builds import session


@pytest.mark.long
@pytest.mark.parametrize("family", [family for family in families() if recipe(family).fails is None])
def test_a_twin_with_real_arrays(family: str, tmp_path: Path) -> None:
    specimen = make_specimen(family, tmp_path, size="full")
    memory = WorkingMemory()
    with session(specimen, 200) as builds:
        minimal.collect(memory, specimen.config, builds.first, builds, limit=4 << 30)
    full, twin = memory.of("minimal_build")
    assert (full["size"], full["outcome"]) == ("full", "built")
    assert (twin["size"], twin["outcome"], twin["evaluated"]) == ("scaled", "built", True)
    assert int(str(twin["bytes"])) <= int(str(full["bytes"]))
    parts = memory.of("component_build", nested=False)
    assert parts
    # A companion that no specimen has is a part that cannot be built; its family loads without.
    assert {fact["outcome"] for fact in parts} == {"built"} or recipe(family).absent
