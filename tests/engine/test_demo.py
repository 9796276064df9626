"""The demo's specimen is real: mended, mlx-audio loads it; broken, mlx-audio fails as the story says.

That the mended one loads strictly says that the table of tensors that ships is current;
``python -m tests.specimens.generate soprano`` renews it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.engine.demo import DemoSpecimen, make
from tests.specimens.hub import environment

ROOT = Path(__file__).parents[2]


def load(*paths: Path, home: Path) -> list[dict[str, str | None]]:
    """What the real loader says of each directory, in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.specimens.check", *map(str, paths)],
        cwd=ROOT,
        env={**os.environ, **environment(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def specimen(tmp_path: Path) -> DemoSpecimen:
    return make(tmp_path / "demo")


def test_it_fails_as_broken_and_loads_when_mended(specimen: DemoSpecimen, tmp_path: Path) -> None:
    spoilt = json.loads((specimen.path / "config.json").read_text())
    paths = [specimen.path]
    for count in (1, 2):  # one failure hides the other
        mended = dict(spoilt)
        for broken in specimen.breaks[:count]:
            for key, value in broken.mended.items():
                mended.pop(key, None) if value is None else mended.__setitem__(key, value)
        copy = tmp_path / f"mended-{count}" / specimen.path.name
        copy.mkdir(parents=True)
        for file in specimen.path.iterdir():
            if file.name != "config.json":
                (copy / file.name).symlink_to(file)
        (copy / "config.json").write_text(json.dumps(mended))
        paths.append(copy)
    first, second, third = load(*paths, home=tmp_path / "home")
    assert first["exception"] == "TypeError"
    assert "num_hidden_layers" in str(first["message"])
    assert second["exception"] == "ValueError"
    assert "Expected shape" in str(second["message"])
    assert third["exception"] is None, third["traceback"]


def test_it_is_cheap_and_tells_its_story(specimen: DemoSpecimen) -> None:
    weights = specimen.path / "model.safetensors"
    assert weights.stat().st_size > 100_000_000
    assert sum(file.stat().st_blocks * 512 for file in specimen.path.iterdir()) < 1_000_000
    for broken in specimen.breaks:
        assert all(subject in specimen.story for subject in broken.subjects)


def test_an_existing_directory_is_not_touched(specimen: DemoSpecimen) -> None:
    with pytest.raises(FileExistsError):
        make(specimen.path.parent)
