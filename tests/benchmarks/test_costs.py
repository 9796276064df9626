"""Costs side by side; each group is two commands on the same input.

``pytest tests/benchmarks -m 'long or not long' --benchmark-enable`` measures; without it each
command runs once, and must end well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.processes import FAMILIES, NOTHING, VERSION, Case, cost, healthy

#: Too heavy for a start: imported where they are used, by those who use them.
HEAVY = {"click", "huggingface_hub", "jsonschema", "numpy", "packaging", "psutil", "rapidfuzz", "rich", "yaml"}


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return healthy(request.param, tmp_path_factory.mktemp(request.param))


def modules_of(*words: str) -> set[str]:
    """Top-level modules that a command line of ours has imported when it ends."""
    program = (
        "import json, sys\n"
        "from mlx_diagnose.engine.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(json.dumps([code, *{name.split('.')[0] for name in sys.modules}]), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    code, *modules = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0
    return set(modules)


def test_the_version_is_told_without_heavy_imports() -> None:
    assert modules_of("--version") & HEAVY == set()


def test_the_help_needs_click_alone() -> None:
    assert modules_of("--help") & HEAVY <= {"click"}


@pytest.mark.parametrize("command", [VERSION, NOTHING], ids=["diagnose --version", "python -c pass"])
@pytest.mark.benchmark(group="start", min_rounds=20, warmup=True)
def test_start(benchmark: BenchmarkFixture, command: tuple[str, ...]) -> None:
    benchmark(cost, command)


@pytest.mark.long
@pytest.mark.parametrize("what", ["diagnose", "load"])
@pytest.mark.benchmark(min_rounds=7, warmup=True, warmup_iterations=1)
def test_healthy_model(benchmark: BenchmarkFixture, case: Case, what: str) -> None:
    benchmark.group = f"healthy full-size {case.specimen.family}"
    measured = benchmark(cost, case.diagnose if what == "diagnose" else case.load, case.environment)
    benchmark.extra_info["peak_bytes"] = measured.peak


@pytest.mark.long
def test_what_a_trace_adds_is_a_table_of_markdown() -> None:
    script = Path(__file__).with_name("tracing.py")
    ran = subprocess.run([sys.executable, str(script), "--rounds", "1", "kokoro"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    head, _, *rows = ran.stdout.splitlines()
    assert {line.count("|") for line in (head, *rows)} == {6}
    assert {"construct", "all"} <= {row.split("|")[2].strip() for row in rows}


@pytest.mark.long
def test_the_figures_are_a_table_of_markdown() -> None:
    script = Path(__file__).with_name("figures.py")
    ran = subprocess.run([sys.executable, str(script), "--rounds", "1", "kokoro"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    head, rule, *rows = ran.stdout.splitlines()
    assert {line.count("|") for line in (head, rule, *rows)} == {5}
    assert len(rows) == 6
