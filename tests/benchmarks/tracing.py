"""Prints what a trace adds to each stage: ``python tests/benchmarks/tracing.py [--rounds N] [FAMILY ...]``.

Whole full-size specimens are loaded by turns untraced and traced, each time in a fresh process of
this interpreter. Of each stage the shortest time counts, in milliseconds: what a busy machine adds is no
cost of a trace. Stages that take less than a millisecond are left out; ``all`` is their sum with the others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Limits, PatientProcess
from mlx_diagnose.engine.tracing import TRACED_STAGES
from tests.specimens import Specimen, families, make_specimen

_LEAST = 0.001
ALL = "all"


def stages(specimen: Specimen, *, traced: bool) -> dict[str, float]:
    """Seconds of the traced stages of one load of ``specimen``."""
    path = str(specimen.path)
    job = {"load": path, "directory": path, "name": specimen.path.name, "category": "tts", "offline": True}
    variables = {**os.environ, **specimen.environment}
    with PatientProcess(sys.executable, {**job, "traced": traced}, variables, Limits(600, 16 << 30)) as process:
        run = LoadRun().take(process.messages())
    seconds = {name: run.steps[name]["seconds"] for name in TRACED_STAGES if name in run.steps}
    return {**seconds, ALL: sum(seconds.values())}


def compared(specimen: Specimen, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Stage, seconds untraced and traced; one load of each goes before and does not count."""
    runs: Mapping[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(rounds + 1):
        for traced, known in runs.items():
            known.append(stages(specimen, traced=traced))
    for name in (*TRACED_STAGES, ALL):
        plain, told = (min(run.get(name, 0.0) for run in runs[traced][1:]) for traced in (False, True))
        if plain >= _LEAST:
            yield name, plain, told


def main() -> None:
    parser = argparse.ArgumentParser(description="What a trace adds to the stages of a load, as a table of Markdown")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ratios: dict[str, list[float]] = {}
    print("| | stage | ratio | traced | untraced |")
    print("|---|---|---|---|---|")
    for family in arguments.families or families():
        with tempfile.TemporaryDirectory() as directory:
            specimen = make_specimen(family, Path(directory), size="full")
            for name, plain, told in compared(specimen, arguments.rounds):
                ratios.setdefault(name, []).append(told / plain)
                row = (family, name, f"{told / plain:.2f}", f"{told * 1e3:.1f} ms", f"{plain * 1e3:.1f} ms")
                print("|", " | ".join(row), "|", flush=True)
    for name, found in ratios.items():
        print(f"| median, largest of {len(found)} | {name} | {statistics.median(found):.2f}, {max(found):.2f} | | |")


if __name__ == "__main__":
    main()
