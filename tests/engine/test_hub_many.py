"""Many diagnoses of a model on the hub, one after another and at once: nothing is left behind, nobody is disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import HubServer
from tests.hub.models import publish

ROOT = Path(__file__).parents[2]
#: Two hundred take five minutes and more (``python -m tests.hub.many MODEL 200``); what one leaves, forty show.
COUNT = 40


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def environment(hub: HubServer, tmp_path: Path) -> dict[str, str]:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    told = {**os.environ, **hub.environment(tmp_path / "home"), "TMPDIR": str(scratch)}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN"):
        told.pop(name, None)
    return told


@pytest.mark.long
def test_many_whole_diagnoses_leave_nothing_behind(hub: HubServer, tmp_path: Path) -> None:
    model, _ = publish(hub, "kokoro", tmp_path / "made")
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.many", model, str(COUNT)],
        env=environment(hub, tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = map(json.loads, done.stdout.splitlines())
    # Connections that the client keeps for the next request: as many as were asked at once, whatever the number.
    assert after["files"] <= before["files"] + 8
    assert after["sockets"] <= before["sockets"] + 8
    assert after["threads"] <= before["threads"] + 1
    assert (after["children"], after["temporary"]) == (0, 0)
    assert after["cached"] == before["cached"]
    assert not list((tmp_path / "home").rglob("*.incomplete"))


@pytest.mark.long
def test_two_processes_at_once_do_not_disturb_each_other(hub: HubServer, tmp_path: Path) -> None:
    model, _ = publish(hub, "kokoro", tmp_path / "made")
    told = environment(hub, tmp_path)
    command = [sys.executable, "-m", "mlx_diagnose", model, "--json"]
    kept: set[str] = set()
    for cache in ("cold", "warm"):
        both = [subprocess.Popen(command, env=told, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        reports = [json.loads(one.communicate(timeout=300)[0]) for one in both]
        assert all(report["verdict"].startswith("loads") for report in reports), cache
        assert len({json.dumps(report["findings"]) for report in reports}) == 1
        assert not list((tmp_path / "home").rglob("*.incomplete"))
        assert list((tmp_path / "scratch").iterdir()) == []
        there = {str(file.relative_to(tmp_path)) for file in (tmp_path / "home" / "hub").rglob("*")}
        assert cache == "cold" or there == kept
        kept = there
    for link in (tmp_path / "home" / "hub").rglob("snapshots/*/*"):
        assert link.resolve().is_file()
