"""How often the product tells the truth about mutants: ``python -m tests.specimens.score [FAMILY ...]``.

Diagnoses every mutant of the catalogue with the command line, as a user would, and prints one line
each: ``ok`` when the truth is the only root error, ``ok+`` when it is one of several, ``BAD`` when
it is not among them. Mutants that a family tolerates are left out. About four seconds a mutant.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.specimens import families, make_specimen
from tests.specimens.catalogue import mutants, tolerated
from tests.specimens.mutants import Mutant


def roots(mutant: Mutant, state: Path) -> list[tuple[str, list[str]]]:
    """Failure class and subjects of each root error that the product reports, or what it said instead."""
    done = subprocess.run(
        [sys.executable, "-m", "mlx_diagnose", str(mutant.specimen.path), "--json", "--category", "tts"],
        env={**os.environ, **mutant.specimen.environment, "XDG_STATE_HOME": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [(f"exit {done.returncode}", [" ".join(done.stderr.split())[-200:]])]
    return [
        (finding["failure_class"], [subject["name"] for subject in finding["subjects"]])
        for finding in report["findings"]
        if finding["root"] and finding["severity"] == "error"
    ]


def score(names: list[str]) -> None:
    """Print the score of the families ``names``, or of all."""
    right = count = 0
    with tempfile.TemporaryDirectory() as folder:
        for family in names or families():
            specimen = make_specimen(family, Path(folder) / family)
            if specimen.fails:
                continue
            for mutant in mutants(specimen, Path(folder) / family / "mutants"):
                if tolerated(mutant):
                    continue
                found = roots(mutant, Path(folder))
                accepted = {mutant.truth.failure_class, *mutant.truth.also}
                good = any(failure_class in accepted for failure_class, _ in found)
                mark = "BAD" if not good else "ok" if len(found) == 1 else "ok+"
                right, count = right + good, count + 1
                truth = f"{mutant.truth.failure_class} {', '.join(mutant.truth.subjects)}"
                got = "; ".join(f"{failure_class} {', '.join(subjects[:3])}" for failure_class, subjects in found[:3])
                print(f"{mark:4}{family:18}{mutant.kind:26}{mutant.what} | {truth} | {got}", flush=True)
    print(f"{right} of {count}")


if __name__ == "__main__":
    score(sys.argv[1:])
