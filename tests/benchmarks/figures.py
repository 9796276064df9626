"""Prints the README's table of figures: ``python tests/benchmarks/figures.py [--rounds N] [FAMILY ...]``.

Ratios of two commands that were run by turns in one go; run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.processes import FAMILIES, NOTHING, STATIC, VERSION, Cost, compare, healthy

ROUNDS = 7
ROUNDS_OF_START = 25


def seconds(costs: tuple[Cost, ...]) -> str:
    return f"{statistics.median(cost.seconds for cost in costs):.3g} s"


def megabytes(costs: tuple[Cost, ...]) -> str:
    return f"{statistics.median(cost.peak for cost in costs) / 1e6:.0f} MB"


def rows(families: list[str], rounds: int) -> Iterator[tuple[str, str, str, str]]:
    for family in families:
        with tempfile.TemporaryDirectory() as directory:
            case = healthy(family, Path(directory))
            both = compare(case.diagnose, case.load, case.environment, rounds=rounds)
            traced = compare((*case.diagnose, "--trace"), case.load, case.environment, rounds=rounds)
        name = case.specimen.path.name
        yield f"{name}, healthy: time", f"{both.time_ratio:.2f}", seconds(both.ours), seconds(both.theirs)
        yield (
            f"{name}, healthy, with `--trace`: time",
            f"{traced.time_ratio:.2f}",
            seconds(traced.ours),
            seconds(traced.theirs),
        )
        yield f"{name}, healthy: peak memory", f"{both.peak_ratio:.2f}", megabytes(both.ours), megabytes(both.theirs)
    for family in STATIC:
        with tempfile.TemporaryDirectory() as directory:
            case = healthy(family, Path(directory), "small")
            static = compare(case.static, case.load, case.environment, rounds=rounds)
        name = f"{case.specimen.path.name}, `--only-static`: time"
        yield name, f"{static.time_ratio:.2f}", seconds(static.ours), seconds(static.theirs)
    start = compare(VERSION, NOTHING, rounds=ROUNDS_OF_START)
    yield "`diagnose --version`: time", f"{start.time_ratio:.2f}", seconds(start.ours), seconds(start.theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratios of costs, as a table of Markdown")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"default: {' '.join(FAMILIES)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    print("| | ratio | diagnose | compared with it |")
    print("|---|---|---|---|")
    for row in rows(arguments.families or list(FAMILIES), arguments.rounds):
        print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
