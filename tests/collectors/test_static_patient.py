"""The patient's greeting, worked out from files, against what interpreters say of themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mlx_diagnose.collectors import static_patient
from mlx_diagnose.collectors.dependencies import FamilyNeeds, read_needs
from mlx_diagnose.collectors.release_signatures import Release
from mlx_diagnose.collectors.surroundings import Surroundings, imported_directory
from tests.collectors.releases import OLD, write_release

_SAYS = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.path[1:]]))"


def _environment(folder: Path, home: Path, *settings: str) -> Path:
    """A virtual environment as ``venv`` lays it out."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    text = "\n".join([f"home = {home}", f"version = {'.'.join(map(str, sys.version_info[:3]))}", *settings])
    (folder / "pyvenv.cfg").write_text(text)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    site.mkdir(parents=True)
    return site


@pytest.mark.parametrize("shared", [False, True])
def test_a_virtual_environment_is_seen_as_its_interpreter_sees_it(tmp_path: Path, shared: bool) -> None:
    base = Path(os.path.realpath(sys.executable)).parent
    settings = [f"include-system-site-packages = {str(shared).lower()}"]
    site = _environment(tmp_path / "env", base, *settings)
    (tmp_path / "more").mkdir()
    (site / "more.pth").write_text(f"# a comment\nimport os\n{tmp_path / 'more'}\nnosuch\n")
    executable = str(tmp_path / "env" / "bin" / "python")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environ.update(PYTHONPATH=str(tmp_path / "first"), PYTHONNOUSERSITE="1")
    said = subprocess.run([executable, "-c", _SAYS], env=environ, capture_output=True, text=True, check=True)
    version, path = json.loads(said.stdout)
    hello = static_patient.greeting(executable, environ)
    assert hello["python"] == version
    assert hello["path"] == [entry for entry in path if not entry.endswith(".zip")]


def test_our_own_interpreter_says_it_itself() -> None:
    hello = static_patient.greeting(sys.executable, {})
    assert set(hello["path"]) >= {entry for entry in sys.path if entry and os.path.isdir(entry)}
    found = static_patient.mlx_audio(hello, None, {"model_type": "kokoro"}, "Kokoro")
    assert found["category"] == "tts" and found["directory"].endswith("mlx_audio") and found["version"]


def test_what_is_no_interpreter_is_told_by_its_file(tmp_path: Path) -> None:
    def unfit(name: str, content: bytes) -> str | None:
        (tmp_path / name).write_bytes(content)
        return static_patient.unfit(str(tmp_path / name))

    assert static_patient.unfit(sys.executable) is None
    (tmp_path / "linked").symlink_to(sys.executable)
    assert static_patient.unfit(str(tmp_path / "linked")) is None
    assert unfit("python3.9", b"\x7fELF...") is None and unfit("Python", b"\xcf\xfa\xed\xfe...") is None
    assert unfit("app", b"\x7fELF... Py_BytesMain\0 ...") is None
    assert unfit("ls", b"\x7fELF...") == "it is a program without a Python inside"
    assert (unfit("python3", b"#!/bin/sh\nexec python3.11\n") or "").startswith("it is a script")
    assert unfit("python", b"hello") == unfit("empty", b"") == "it is no program"
    environment = _environment(tmp_path / "env", tmp_path / "nowhere").parents[2]
    (environment / "bin" / "pip").write_text("#!/bin/sh\n")
    assert static_patient.unfit(str(environment / "bin" / "pip")) is not None
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").write_text("#!/bin/sh\n")
    assert static_patient.unfit(str(environment / "bin" / "python")) is None
    assert static_patient.unfit(str(tmp_path / "nosuch")) == "it cannot be read: No such file or directory"
    assert static_patient.unfit(str(tmp_path)) == "it cannot be read: Is a directory"


def test_an_environment_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\n")
    hello = static_patient.greeting(str(tmp_path / "bin" / "python"), {"PYTHONPATH": "/a:/b"})
    assert (hello["path"], hello["python"]) == (["/a", "/b"], None)
    assert static_patient.mlx_audio(hello, "stt", None, "x") == {"directory": None, "version": None, "category": "stt"}


def test_editable_installations_and_archives(tmp_path: Path) -> None:
    site = _environment(tmp_path / "env", tmp_path / "nowhere")
    executable = str(tmp_path / "env" / "bin" / "python")
    folder = write_release(tmp_path / "src", OLD)

    def found(**environ: str) -> str | None:
        hello = static_patient.greeting(executable, environ)
        directory = static_patient.mlx_audio(hello, None, None, "x")["directory"]
        return directory if directory is None else str(directory)

    assert found() is None
    (site / "__editable__.mlx_audio.pth").write_text("import __editable___x_finder; __editable___x_finder.install()\n")
    finder = site / "__editable___x_finder.py"
    finder.write_text(f"raise SystemExit(9)\nMAPPING: dict[str, str] = {{'mlx_audio': {str(folder)!r}}}\n")
    assert found() == str(folder)
    finder.write_text("MAPPING = broken(\n")
    assert found() is None
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for file in folder.rglob("*.py"):
            written.write(file, file.relative_to(folder.parent))
    assert found(PYTHONPATH=str(archive)) == str(archive / "mlx_audio")
    document = Release(archive / "mlx_audio").describe("tts", "chant")
    assert [(p["reason"], p["module"]) for p in document["unreadable"]] == [("zipped", "mlx_audio.tts.models.chant")]
    assert document["reasons"] != []


def test_an_installation_of_compiled_files_or_an_archive(tmp_path: Path) -> None:
    package = tmp_path / "site" / "mlx_audio"
    (package / "tts" / "models" / "fam").mkdir(parents=True)
    for folder in (package, package / "tts", package / "tts" / "models", package / "tts" / "models" / "fam"):
        (folder / "__init__.pyc").touch()
    assert imported_directory([str(tmp_path / "site")]) == package
    assert read_needs(package, "tts", "fam") == FamilyNeeds("fam", [], True, readable=False)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("mlx_audio/__init__.py", "")
    assert imported_directory([str(tmp_path / "all.zip")]) is None
    hello = {"python": "3.11", "system": "Linux", "path": [str(tmp_path / "all.zip"), str(tmp_path / "nosuch")]}
    around = Surroundings(hello, {"directory": str(tmp_path / "all.zip" / "mlx_audio"), "version": "0.6.2"})
    assert around.modules.find("mlx_audio.tts") is None and around.mlx_audio == "0.6.2"
    assert not read_needs(tmp_path / "all.zip" / "mlx_audio", "tts", "fam", whole=False).readable
