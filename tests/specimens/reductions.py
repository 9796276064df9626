"""Reductions of mutants: ``python -m tests.specimens.reductions [FAMILY ...]``.

Runs ``diagnose reduce`` on the mutants of the catalogue whose config was changed, as a user would,
and prints a line each: values of the config before and after, loads, seconds, changes of the largest
config that passes, and whether the script fails in the same way; then the medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.specimens import families, make_specimen
from tests.specimens.catalogue import OF_FAMILY
from tests.specimens.mutants import Mutant, mutate

_KINDS = ("key-missing", "key-renamed", "key-unknown", "section-missing", "type-changed", "value-changed")


def reduced(mutant: Mutant, folder: Path) -> dict[str, object] | str:
    """What ``diagnose reduce --json`` says of a mutant, or what it said instead."""
    done = subprocess.run(
        [sys.executable, "-m", "mlx_diagnose", "reduce", str(mutant.specimen.path), "--json", "--out", str(folder)],
        env={**os.environ, **mutant.specimen.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        document: dict[str, object] = json.loads(done.stdout)
    except ValueError:
        return f"exit {done.returncode} {' '.join(done.stderr.split())[-200:]}"
    return document


def survey(names: list[str]) -> None:
    """Print the reductions of the mutants of the families ``names``, or of all."""
    seen: list[tuple[int, float, int, bool]] = []
    with tempfile.TemporaryDirectory() as folder:
        for family in names or families():
            specimen = make_specimen(family, Path(folder) / family)
            for number, (kind, options) in enumerate(OF_FAMILY.get(family, ())):
                if kind not in _KINDS:
                    continue
                mutant = mutate(specimen, kind, Path(folder) / family / str(number), **options)
                found = reduced(mutant, Path(folder) / family / f"out{number}")
                name = f"{family:14}{mutant.what[:60]:62}"
                if isinstance(found, str):
                    print(f"BAD {name}{found}", flush=True)
                elif found["loads"]:
                    print(f"    {name}loads", flush=True)
                else:
                    seen.append(_line(name, found))
    if seen:
        attempts, seconds, values, good = zip(*seen, strict=True)
        print(
            f"{len(seen)} reductions: median {statistics.median(attempts):g} loads, "
            f"{statistics.median(seconds):.1f} s, {statistics.median(values):g} values left; {sum(good)} reproduced"
        )


def _line(name: str, found: dict[str, object]) -> tuple[int, float, int, bool]:
    document: dict[str, dict[str, object]] = found  # type: ignore[assignment]
    smallest, largest, script = document["smallest"], document["largest"], document["reproduction"]
    good = bool(script and script["reproduces"])
    passing = "none"
    if largest:
        difference = largest["difference"]
        assert isinstance(difference, list)
        passing = f"{len(difference)} changes, {'loads' if largest['loads'] else largest['fails_at']}"
    attempts, seconds, values = int(str(found["attempts"])), float(str(found["seconds"])), int(str(smallest["values"]))
    print(
        f"{'ok ' if good else 'BAD'} {name}{smallest['values_before']:>5} -> {values:<4}"
        f"{attempts:5} loads {seconds:6.1f} s  {document['failure']['stage']}; passes: {passing}; "
        f"{found['why_not'] or ''}",
        flush=True,
    )
    return attempts, seconds, values, good


if __name__ == "__main__":
    survey(sys.argv[1:])
