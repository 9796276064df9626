"""The probe's outcome is the real loader's: it loads, or the same exception leaves the same stage.

For every family, a whole specimen and broken ones are loaded twice: by the unwrapped loader in
a process of its own (``tests/real_loader.py``), and by the probe.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Limits, PatientProcess
from tests.specimens import families, make_specimen
from tests.specimens.hub import environment

ROOT = Path(__file__).parent.parent


def broken_configs(config: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Configs that fail at different stages, or do not fail at all: that is for the loaders to say."""

    def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        copied = copy.deepcopy(config)
        change(copied)
        return copied

    numbers = [key for key, value in config.items() if type(value) is int]
    for key in numbers[:3]:
        yield f"{key} doubled", changed(lambda c, key=key: c.__setitem__(key, c[key] * 2))
    for key in numbers[:1]:
        yield f"{key} as text", changed(lambda c, key=key: c.__setitem__(key, str(c[key])))
    for key in list(config)[:4]:
        yield f"{key} absent", changed(lambda c, key=key: c.pop(key))
    yield "another type", changed(lambda c: c.__setitem__("model_type", "nosuch"))
    yield "a list", [1]
    yield "quantised without bits", changed(lambda c: c.__setitem__("quantization", {"group_size": 64}))


def variants(family: str, folder: Path) -> tuple[list[tuple[str, Path]], dict[str, str]]:
    """Directories of a whole specimen and of broken ones, and the environment to load them in."""
    specimen = make_specimen(family, folder)
    made = [("whole", specimen.path)]

    def variant(name: str, config: object | None, leave_out: str = "config.json") -> Path:
        directory = folder / f"variant-{len(made)}" / specimen.path.name
        directory.mkdir(parents=True)
        for entry in specimen.path.iterdir():
            if entry.name != "config.json" and not entry.name.endswith(leave_out):
                (directory / entry.name).symlink_to(entry)
        if config is not None:
            (directory / "config.json").write_text(json.dumps(config))
        made.append((name, directory))
        return directory

    for name, config in broken_configs(specimen.config):
        variant(name, config)
    variant("no config", None)
    variant("no weights", specimen.config, ".safetensors")
    empty = variant("an empty weights file", specimen.config, ".safetensors")
    (empty / "model.safetensors").write_bytes(b"")
    return made, {**os.environ, **environment(specimen.hub)}


def by_the_real_loader(paths: list[Path], variables: dict[str, str]) -> list[tuple[str | None, str | None]]:
    result = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "real_loader.py"), *map(str, paths)],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(line["exception"], line["stage"]) for line in map(json.loads, result.stdout.splitlines())]


def probed(paths: list[Path], variables: dict[str, str], *, traced: bool = False) -> Iterator[LoadRun]:
    first = str(paths[0])
    job = {"load": first, "name": paths[0].name, "directory": first, "category": "tts", "offline": True}
    with PatientProcess(sys.executable, {**job, "traced": traced}, variables, Limits(300, 8 << 30)) as process:
        for number, path in enumerate(paths):
            yield LoadRun().take(process.request(load=str(path), traced=traced) if number else process.messages())


def by_the_probe(paths: list[Path], variables: dict[str, str]) -> list[tuple[str | None, str | None]]:
    return [(run.chain[0]["type"] if run.chain else None, run.failed_stage) for run in probed(paths, variables)]


def course(run: LoadRun) -> tuple[object, ...]:
    """How a load went: its stages, what was raised, caught and reached for, and the tensors that it was given."""
    return (
        [(name, step["status"]) for name, step in run.steps.items()],
        [(link["type"], link["message"], len(link["frames"])) for link in run.chain],
        [(link["type"], link["message"]) for link in run.caught],
        [(reach["what"], reach["target"], reach["outcome"]) for reach in run.reaches],
        (run.given, run.given_bytes, run.mismatches),
    )


#: Enough of all kinds for every run; the others take their time in CI.
QUICK = frozenset({"kitten_tts", "kokoro", "llama", "qwen3", "soprano"})


@pytest.mark.parametrize(
    "family",
    [pytest.param(family, marks=() if family in QUICK else pytest.mark.long) for family in families()],
)
def test_the_outcome_is_that_of_the_real_loader(family: str, tmp_path: Path) -> None:
    made, variables = variants(family, tmp_path)
    paths = [path for _, path in made]
    expected = by_the_real_loader(paths, variables)
    assert not any(str(stage).startswith("unknown") for _, stage in expected)
    names = [name for name, _ in made]
    assert dict(zip(names, by_the_probe(paths, variables), strict=True)) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    "family",
    [pytest.param(family, marks=() if family in ("kokoro", "soprano") else pytest.mark.long) for family in families()],
)
def test_a_trace_changes_nothing(family: str, tmp_path: Path) -> None:
    made, variables = variants(family, tmp_path)
    paths = [path for _, path in made]
    plain, traced = list(probed(paths, variables)), list(probed(paths, variables, traced=True))
    assert all(run.trace is not None for run in traced)
    assert not any(gap["what"] == "trace" for run in traced for gap in run.unavailable)
    assert [course(run) for run in traced] == [course(run) for run in plain]


def test_many_families_are_compared() -> None:
    assert set(families()) >= QUICK and len(families()) >= 40
