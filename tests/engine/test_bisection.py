"""Which releases are tried, and a bisection over releases that are really installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlx_diagnose.collectors.symptom import Symptom
from mlx_diagnose.engine import bisection, bisection_report
from mlx_diagnose.engine.bisection import Bisection, Tried, search
from mlx_diagnose.engine.cli import main
from mlx_diagnose.engine.isolation import IsolationError
from mlx_diagnose.engine.report.view import View
from tests.specimens import make_specimen
from tests.wheels import make_wheel

_RELEASES = [f"0.{number}" for number in range(1, 21)]


def _attempted(outcomes: str, releases: list[str]) -> tuple[list[Tried], list[str]]:
    """Search ``releases``, which load (+), fail (-) or cannot be tried (?); what is told, and what was tried."""
    asked: list[str] = []

    def attempt(release: str) -> Tried:
        asked.append(release)
        outcome = outcomes[releases.index(release)]
        return {
            "+": Tried(release),
            "-": Tried(release, Symptom("load", "ValueError", "Missing 3 parameters")),
            "?": Tried(release, why_not="it cannot be installed"),
        }[outcome]

    return search(releases, attempt), asked


def _changes(outcomes: str) -> list[tuple[str, str]]:
    releases = _RELEASES[: len(outcomes)]
    tried, asked = _attempted(outcomes, releases)
    assert len(asked) == len(set(asked))
    assert [one.release for one in tried] == sorted(asked, key=releases.index)
    return [(one.release, other.release) for one, other in Bisection("m", tuple(releases), tuple(tried)).changes]


@pytest.mark.parametrize("at", range(1, 20))
@pytest.mark.parametrize("sides", ["-+", "+-"])
def test_the_release_of_a_change_is_found_in_few_steps(at: int, sides: str) -> None:
    outcomes = sides[0] * at + sides[1] * (20 - at)
    assert _changes(outcomes) == [(f"0.{at}", f"0.{at + 1}")]
    assert len(_attempted(outcomes, _RELEASES)[1]) <= 7


def test_a_model_that_loads_in_the_middle_alone() -> None:
    assert _changes("-----+++++++++------") == [("0.5", "0.6"), ("0.14", "0.15")]


def test_where_all_fail_some_are_looked_at_and_not_all() -> None:
    tried, asked = _attempted("-" * 20, _RELEASES)
    assert len(asked) == 8 and all(one.loads is False for one in tried)


def test_where_the_ends_load_nothing_else_is_tried() -> None:
    assert _attempted("+" * 20, _RELEASES)[1] == ["0.1", "0.20"]


def test_what_cannot_be_tried_is_passed_over() -> None:
    assert _changes("?--??+++?") == [("0.3", "0.6")]
    assert _changes("???") == [] and _changes("?+?") == [] and _changes("+") == []
    tried, _ = _attempted("?--??+++?", _RELEASES[:9])
    found = Bisection("m", tuple(_RELEASES[:9]), tuple(tried))
    assert found.between(*found.changes[0]) == ("0.4", "0.5")
    shown = bisection_report.text(found, View())
    assert "m loads from mlx-audio 0.6 on" in shown and "lie 0.4, 0.5" in shown and "not told: it cannot be" in shown


def test_a_report_is_narrow_and_tells_a_failure_once() -> None:
    tried, _ = _attempted("----++++", _RELEASES[:8])
    shown = bisection_report.text(Bisection("org/name", tuple(_RELEASES[:8]), tuple(tried)), View())
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert shown.count("Missing 3 parameters") == 1 and "fails in the same way" in shown
    assert "pip install mlx-audio==0.8" in shown and "--release 0.4`" in shown
    nothing = bisection_report.text(Bisection("m", ("0.1",), (Tried("0.1", why_not="no wheel"),)), View())
    assert "no release of mlx-audio could be tried" in nothing


def test_releases_that_cannot_be_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nosuch")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(IsolationError) as failed:
        bisection.published(sys.executable)
    assert failed.value.exit_code == 3


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect", str(tmp_path), "--releases", "newer"]) == 2
    assert "no range of releases" in capsys.readouterr().err
    assert main(["bisect", "org/absent", "--dir", str(tmp_path)]) == 2
    assert "is not on this machine" in capsys.readouterr().err


def _package(without: str = "") -> Mapping[str, bytes]:
    """The files of the installed mlx-audio, without one of its families."""
    spec = importlib.util.find_spec("mlx_audio")
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    files = (file for file in root.rglob("*") if file.suffix in (".py", ".json") and "__pycache__" not in file.parts)
    return {
        str(file.relative_to(root.parent)): file.read_bytes()
        for file in files
        if not without or without not in file.relative_to(root).parts
    }


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("mlx_audio") is None, reason="needs a patient: mlx-audio")
def test_releases_are_installed_and_the_model_is_loaded_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wheels, folder = tmp_path / "wheels", tmp_path / "made"
    wheels.mkdir()
    for release, files in {"9.0": _package("soprano"), "9.1": _package("soprano"), "9.2": _package()}.items():
        make_wheel(wheels, "mlx_audio", release, files)
    make_wheel(wheels, "mlx", "9.0", {}, "Provides-Extra: cpu")
    # What mlx-audio needs is taken from here, where no index is: from a path file.
    here = "".join(f"{entry}\n" for entry in sys.path if entry.endswith("site-packages"))
    make_wheel(wheels, "beside", "1.0", {"beside.pth": here})
    for name, value in {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}.items():
        monkeypatch.setenv(name, value)
    model = make_specimen("soprano", tmp_path / "models")
    arguments = ["bisect", str(model.path), "--with", "beside", "--dir", str(folder), "--json"]
    assert main([*arguments, "--releases", ">=9"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["changes"] == [{"before": "9.1", "from": "9.2", "loads": True}]
    assert [(one["release"], one["loads"]) for one in found["tried"]] == [("9.0", False), ("9.1", False), ("9.2", True)]
    assert "soprano" in found["tried"][0]["exception"]["message"]
    assert list(folder.iterdir()) == []
    assert main([*arguments, "--releases", "==9.2"]) == 0
