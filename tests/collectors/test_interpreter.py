"""Which interpreter is the patient, and why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlx_diagnose.collectors.interpreter import choose, has_mlx_audio
from mlx_diagnose.engine.model import UsageError


def environment(root: Path, *, audio: bool) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python").symlink_to(sys.executable)
    site = root / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    if audio:
        (site / "mlx_audio-0.6.2.dist-info").mkdir()
    return root


def test_the_activated_environment_is_taken_if_it_has_mlx_audio(tmp_path: Path) -> None:
    with_audio = environment(tmp_path / "a", audio=True)
    chosen = choose(None, {"VIRTUAL_ENV": str(with_audio)})
    assert chosen.executable == str(with_audio / "bin" / "python")
    assert "VIRTUAL_ENV" in chosen.because


def test_an_activated_environment_without_mlx_audio_is_not_the_patient(tmp_path: Path) -> None:
    without = environment(tmp_path / "a", audio=False)
    assert choose(None, {"VIRTUAL_ENV": str(without)}).executable == sys.executable


def test_an_environment_may_be_given_as_its_folder(tmp_path: Path) -> None:
    folder = environment(tmp_path / "a", audio=False)
    assert choose(str(folder)).executable == str(folder / "bin" / "python")


def test_the_link_of_a_virtual_environment_is_not_resolved(tmp_path: Path) -> None:
    folder = environment(tmp_path / "a", audio=False)
    assert choose(str(folder / "bin" / "python")).executable == str(folder / "bin" / "python")


def test_a_command_is_looked_up_on_the_path(tmp_path: Path) -> None:
    folder = environment(tmp_path / "a", audio=False)
    assert choose("python", {"PATH": str(folder / "bin")}).executable == str(folder / "bin" / "python")


@pytest.mark.parametrize("asked", ["/nowhere/python", "no-such-command-anywhere"])
def test_what_is_not_there_is_a_usage_error(asked: str) -> None:
    with pytest.raises(UsageError) as error:
        choose(asked, {"PATH": "/nowhere"})
    assert error.value.reference == "python-not-found"


def test_what_cannot_be_executed_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_text("")
    with pytest.raises(UsageError) as error:
        choose(str(file))
    assert error.value.reference == "python-not-executable"


def test_an_editable_install_counts(tmp_path: Path) -> None:
    assert has_mlx_audio(str(environment(tmp_path / "a", audio=True)))
