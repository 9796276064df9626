"""How often a broken model gets a proven fix, and whether it is right: ``python -m tests.specimens.fix_score``.

Options: families to look at (all by default), ``--faults 2`` for as many faults at once, ``--count 3`` for
so many mutants a family.

Every mutant is diagnosed with the command line; the fixes that the report says make it load are
carried out on a copy, which the real loader loads, and its parameters are compared with those of the
unbroken specimen, values included. One line a mutant: ``ok`` (fixed, and equal), ``WRONG`` (called
verified and not equal, or does not load), ``ambiguous`` (it says that several fixes would pass),
``harmless`` (the loader mends it itself: it loads, and equal; not counted),
``none``. Mutants whose loss cannot be made good from what is left are not among them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.specimens import families, make_specimen
from tests.specimens.catalogue import OF_FAMILY, OF_QUANTISED, UNIVERSAL, Case, tolerated
from tests.specimens.mutants import Mutant, mutate, quantised
from tests.specimens.recipe import Specimen

ROOT = Path(__file__).parents[2]
#: Kinds of fault that what is left tells how to mend. Of what is merely lost (a section, a shard) nothing does.
MENDABLE = frozenset(
    {
        *("key-renamed", "key-unknown", "value-changed", "type-changed", "section-flattened"),
        *("model-type-unknown", "model-type-other", "model-type-missing", "directory-named"),
        *("prefix-added", "prefix-removed", "tensor-renamed", "tensor-extra", "convolution-transposed", "mlx-layout"),
        *("projections-joined", "projections-split", "types-widened", "quantization-entries-missing"),
        *("quantization-undeclared", "quantization-bits", "quantization-group-size", "quantization-without-bits"),
    }
)
#: Beside the catalogue: what can be done to every family.
EXTRA: tuple[Case, ...] = (("convolution-transposed", {}), ("model-type-missing", {}))


@dataclass(frozen=True)
class Result:
    """``mark`` as the module says; ``seconds`` of processor time that the whole diagnosis took."""

    mark: str
    detail: str
    seconds: float


def cases(specimen: Specimen) -> list[Case]:
    """Single faults of ``specimen`` that can be mended and that it does not tolerate."""
    own = [*UNIVERSAL, *EXTRA, *OF_FAMILY.get(specimen.family, ())]
    return [case for case in own if case[0] in MENDABLE]


def single(specimen: Specimen, folder: Path) -> Iterator[Mutant]:
    """A mutant a case, and those of the quantised specimen."""
    for number, (kind, options) in enumerate(cases(specimen)):
        made = _made(specimen, kind, options, folder / str(number))
        if made is not None:
            yield made
    for number, (kind, options) in enumerate(OF_QUANTISED.get(specimen.family, ())):
        if kind in MENDABLE:
            whole = quantised(specimen, folder / f"quantised-{number}" / "whole")
            yield mutate(whole, kind, folder / f"quantised-{number}", **options)


def several(specimen: Specimen, folder: Path, faults: int, count: int, seed: int) -> Iterator[Mutant]:
    """``count`` mutants with ``faults`` faults each, of different kinds and about different things."""
    source = random.Random(f"{seed}:{specimen.family}:{faults}")
    known = [case for case in cases(specimen) if not case[0].startswith(("model-type", "mlx-layout"))]
    if len({kind for kind, _ in known}) < faults:
        return
    for number in range(count):
        chosen: list[Case] = []
        while len(chosen) < faults:
            case = source.choice(known)
            if all(case[0] != other[0] and not _overlap(case, other) for other in chosen):
                chosen.append(case)
        chosen.sort(key=lambda case: case[0].startswith("prefix"))
        mutant: Mutant | None = None
        for step, (kind, options) in enumerate(chosen):
            before = mutant.specimen if mutant is not None else specimen
            made = _made(before, kind, options, folder / f"{number}-{step}")
            if made is None:
                break
            told = f"{mutant.what}; {made.what}" if mutant is not None else made.what
            mutant = Mutant(" + ".join(kind for kind, _ in chosen), told, made.truth, made.specimen)
        else:
            if mutant is not None:
                yield mutant


def _overlap(one: Case, other: Case) -> bool:
    left, right = one[1].get("path"), other[1].get("path")
    return left is not None and right is not None and (left.startswith(right) or right.startswith(left))


def _made(specimen: Specimen, kind: str, options: Mapping[str, Any], folder: Path) -> Mutant | None:
    try:
        made = mutate(specimen, kind, folder, **options)
    except (StopIteration, KeyError, IndexError):
        return None  # the family has no such tensor
    return None if tolerated(made) else made


def diagnosed(mutant: Mutant, state: Path) -> tuple[dict[str, Any], float]:
    """The report of a mutant, and the seconds of processor time that it took."""
    started = processor_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "mlx_diagnose", str(mutant.specimen.path), "--json", "--category", "tts"],
        env={**os.environ, **mutant.specimen.environment, "XDG_STATE_HOME": str(state)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(done.stdout), processor_seconds() - started
    except ValueError:
        return {"verdict": f"exit {done.returncode}: {done.stderr[-200:]}", "findings": []}, 0.0


def loaded(jobs: list[dict[str, Any]], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the real loader says to ``jobs``, in one process (``tests/specimens/loaded.py``)."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.specimens.loaded"],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(jobs), done.stderr[-2000:]
    return answers


def judged(mutants: list[tuple[Mutant, Specimen]], state: Path) -> list[Result]:
    """Diagnose mutants of one family, carry out what is said to mend them, and compare with the unbroken ones."""
    reports = [diagnosed(mutant, state) for mutant, _ in mutants]
    jobs: list[dict[str, Any]] = []
    for number, ((mutant, whole), (report, _)) in enumerate(zip(mutants, reports, strict=True)):
        path = mutant.specimen.path
        fixes = {fix["id"]: fix for finding in report["findings"] for fix in finding["fixes"]}
        jobs.append({"path": str(whole.path)})
        if report.get("mends"):
            chosen = [fixes[name] for name in report["mends"]]
            jobs.append({"path": str(path), "to": str(path.parent / f"mended-{number}" / path.name), "fixes": chosen})
        elif report["verdict"].startswith("loads"):
            jobs.append({"path": str(path)})
    answers = iter(loaded(jobs, mutants[0][0].specimen.environment) if jobs else [])
    results = []
    for (mutant, _), (report, seconds) in zip(mutants, reports, strict=True):
        expected = next(answers)
        assert expected["digest"] is not None, expected
        fixes = [fix for finding in report["findings"] for fix in finding["fixes"]]
        if report.get("mends"):
            unproven = [fix for fix in fixes if fix["id"] in report["mends"] and fix["applicability"] != "verified"]
            got = next(answers)
            # The layout of MLX is known by shapes alone.
            compared = "shapes" if "mlx-layout" in mutant.kind else "digest"
            equal = got[compared] == expected[compared]
            mark = "ok" if equal and not unproven else "ambiguous" if unproven else "WRONG"
            detail = "; ".join(fix["title"] for fix in fixes if fix["id"] in report["mends"])
            if not equal:
                detail += f" -> {got['exception'] or 'other parameters'}"
        elif report["verdict"].startswith("loads") and next(answers)["digest"] == expected["digest"]:
            mark, detail = "harmless", report["verdict"]
        else:
            doubts = [fix["reason"] for fix in fixes if str(fix["reason"]).startswith("ambiguous")]
            mark = "ambiguous" if doubts else "none"
            detail = "; ".join([*doubts, *(f"{fix['applicability']}: {fix['title']}" for fix in fixes[:3])])[:300]
        results.append(Result(mark, detail, seconds))
    return results


def score(names: list[str], faults: int, count: int, seed: int) -> Counter[str]:
    """Print a line a mutant and the sum; returns the marks counted.

    ``count`` mutants a family, drawn by ``seed``; of single faults all where it is 0.
    """
    marks: Counter[str] = Counter()
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        for family in names or families():
            folder = Path(temporary) / family
            specimen = make_specimen(family, folder)
            if specimen.fails:
                continue
            made = (
                single(specimen, folder / "m")
                if faults == 1
                else several(specimen, folder / "m", faults, count or 4, seed)
            )
            if faults == 1 and count:
                chosen = list(made)
                made = iter(random.Random(f"{seed}:{family}").sample(chosen, min(count, len(chosen))))
            pairs = [(mutant, _whole(mutant, specimen, folder)) for mutant in made]
            if not pairs:
                continue
            bare = bare_seconds(specimen)
            for (mutant, _), result in zip(pairs, judged(pairs, folder), strict=True):
                marks[result.mark] += result.mark != "harmless"
                if result.mark == "ok":
                    ratios.append(result.seconds / bare)
                print(f"{result.mark:10}{family:18}{mutant.kind:26}{mutant.what} | {result.detail}", flush=True)
    total = sum(marks.values())
    print(f"{marks['ok']} of {total} fixed and equal, {marks['WRONG']} wrong: {dict(marks)}")
    if ratios:
        print(
            f"processor time of a verified fix over that of the bare lazy load: median {statistics.median(ratios):.2f}"
        )
    return marks


def _whole(mutant: Mutant, specimen: Specimen, folder: Path) -> Specimen:
    if not mutant.kind.startswith("quantization"):
        return specimen
    return quantised(specimen, folder / f"whole-{mutant.specimen.path.parent.name}")


def bare_seconds(specimen: Specimen) -> float:
    """Seconds of processor time of the bare lazy load in a fresh process, the better of two."""
    code = f"from mlx_audio.tts.utils import load_model; load_model({str(specimen.path)!r}, lazy=True)"
    times = []
    for _ in range(2):
        started = processor_seconds()
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **specimen.environment},
            capture_output=True,
            check=False,
        )
        times.append(processor_seconds() - started)
    return min(times)


def processor_seconds() -> float:
    """Processor time of all processes that were started and have ended: other programs do not change it much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--faults", type=int, default=1)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    score(asked.families, asked.faults, asked.count, asked.seed)
