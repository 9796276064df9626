"""Minimal builds of whole specimens: ``python -m tests.specimens.builds [FAMILY ...]``.

One line a family: the size of the model as published, of its scaled-down twin, whether the twin's
arrays were made and evaluated, how many builds and seconds that took, and the parts that were found
(without MLX's own layers). Full-size specimens; their weights are holes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_diagnose.collectors import minimal
from mlx_diagnose.collectors.builds import Builds
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Limits, PatientProcess
from mlx_diagnose.engine.memory import WorkingMemory
from tests.specimens import Size, families, make_specimen
from tests.specimens.hub import environment
from tests.specimens.recipe import Specimen


@contextmanager
def session(specimen: Specimen, seconds: float) -> Iterator[Builds]:
    """A patient that has loaded ``specimen``, for builds during so many ``seconds``."""
    load = str(specimen.path)
    job = {"load": load, "name": specimen.path.name, "directory": load, "category": "tts", "offline": True}
    with PatientProcess(
        sys.executable, job, {**os.environ, **environment(specimen.hub)}, Limits(2 * seconds + 120, 16 << 30)
    ) as process:
        run = LoadRun().take(process.messages())
        with Overlays(specimen.path, specimen.path.name) as overlays:
            yield Builds(process, overlays, run, time.monotonic() + seconds)


def survey(names: list[str], size: Size = "full") -> None:
    """Print what is built of the families ``names``, or of all."""
    scaled = parts = 0
    with tempfile.TemporaryDirectory() as folder:
        for family in names or families():
            specimen = make_specimen(family, Path(folder) / family, size=size, hub=Path(folder) / "huggingface")
            with session(specimen, 60) as builds:
                memory, started = WorkingMemory(), time.monotonic()
                minimal.collect(memory, specimen.config, builds.first, builds, limit=4 << 30)
                seconds = time.monotonic() - started
            full = memory.one("minimal_build", size="full")
            twin = memory.one("minimal_build", size="scaled")
            found = [fact for fact in memory.of("component_build", nested=False) if fact["role"] != "layer"]
            good = twin is not None and bool(twin["evaluated"])
            scaled, parts = scaled + good, parts + len(found)
            sizes = [f"{int(str(fact['bytes'])) / 1e6:10.1f} MB" for fact in (full, twin) if fact and fact["bytes"]]
            print(
                f"{'ok ' if good else 'BAD'} {family:18}{' -> '.join(sizes)} {builds.count:4} builds {seconds:6.1f} s  "
                + ", ".join(f"{fact['component']}={fact['role']}" for fact in found),
                flush=True,
            )
    print(f"{scaled} scaled down and evaluated, {parts} parts")


if __name__ == "__main__":
    survey(sys.argv[1:])
