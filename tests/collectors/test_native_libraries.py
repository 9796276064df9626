"""Where native libraries are looked for; the system's own look-up is the one thing put in from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.collectors import native_libraries
from mlx_diagnose.collectors.installed_modules import InstalledModules
from mlx_diagnose.engine.memory import WorkingMemory


def _look(site: Path, *imported: str, system: tuple[str, ...] = (), **environ: str) -> dict[str, tuple[object, ...]]:
    memory = WorkingMemory()

    def find(name: str) -> str | None:
        return f"lib{name}.so.1" if name in system else None

    modules = InstalledModules([site])
    native_libraries.collect(memory, modules, imported or None, {"PATH": str(site), **environ}, find)
    return {str(f["name"]): (f["found"], f["where"], f["needed_by"]) for f in memory.of("native_library")}


def _package(site: Path, name: str, *files: str) -> None:
    (site / name).mkdir(parents=True)
    for file in ("__init__.py", *files):
        (site / name / file).touch()


def test_only_what_installed_packages_call(tmp_path: Path) -> None:
    assert _look(tmp_path) == {"ffmpeg": (False, None, "mlx_audio")}
    _package(tmp_path, "soundfile")
    assert _look(tmp_path)["libsndfile"] == (False, None, "soundfile")
    assert _look(tmp_path, "phonemizer") == {}
    assert "ffmpeg" not in _look(tmp_path, "soundfile")


def test_a_wheel_the_system_or_a_variable_brings_it(tmp_path: Path) -> None:
    _package(tmp_path, "phonemizer")
    assert _look(tmp_path, "phonemizer") == {"espeak-ng": (False, None, "phonemizer")}
    assert _look(tmp_path, "phonemizer", system=("espeak",))["espeak-ng"][:2] == (True, "libespeak.so.1")
    named = _look(tmp_path, "phonemizer", PHONEMIZER_ESPEAK_LIBRARY=str(tmp_path / "nosuch.so"))
    assert named["espeak-ng"] == (False, str(tmp_path / "nosuch.so"), "phonemizer")
    _package(tmp_path, "espeakng_loader")
    # A wheel for another system holds no library.
    assert _look(tmp_path, "phonemizer")["espeak-ng"][0] is False
    (tmp_path / "espeakng_loader" / "libespeak-ng.dylib").touch()
    assert _look(tmp_path, "phonemizer")["espeak-ng"][:2] == (True, str(tmp_path / "espeakng_loader"))


def test_a_program_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.touch(mode=0o755)
    assert _look(tmp_path)["ffmpeg"] == (True, str(program), "mlx_audio")


def test_a_library_of_homebrew_is_there_and_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brew").mkdir()
    library = tmp_path / "brew" / "libespeak-ng.1.dylib"
    library.touch()
    # The folder that Homebrew uses on every Mac; no other machine has it.
    monkeypatch.setattr(native_libraries, "_HOMEBREW", str(tmp_path / "brew"))
    _package(tmp_path, "phonemizer")
    assert _look(tmp_path, "phonemizer")["espeak-ng"][:2] == (False, str(library))
