"""The patient's packages, read from real metadata directories: this interpreter's and small ones made here."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import environment
from mlx_diagnose.collectors.distributions import Installed, marker_environment
from mlx_diagnose.collectors.environment import collect
from mlx_diagnose.engine.memory import WorkingMemory

_LINUX = {"python": "3.11.7", "system": "Linux", "machine": "x86_64", "os_version": "6.1", "implementation": "cpython"}
_MAC = {**_LINUX, "system": "Darwin", "machine": "arm64", "os_version": "15.1"}


def _install(folder: Path, name: str, version: str, *requires: str, kind: str = "dist-info") -> Path:
    metadata = folder / f"{name.replace('-', '_')}-{version}.{kind}"
    metadata.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires)]
    file = "METADATA" if kind == "dist-info" else "PKG-INFO"
    (metadata / file).write_text("\n".join(["Metadata-Version: 2.1", *lines, "", "Requires-Dist: not-a-header"]))
    return metadata


def _collect(*path: Path, hello: dict[str, Any] | None = None, **more: Any) -> tuple[WorkingMemory, dict[str, str]]:
    memory = WorkingMemory()
    greeting = {**(hello or _LINUX), "path": [str(entry) for entry in path]}
    return memory, collect(memory, hello=greeting, **more)


def test_versions_are_those_that_this_interpreter_sees() -> None:
    hello = {"python": platform.python_version(), "system": platform.system(), "machine": platform.machine()}
    memory = WorkingMemory()
    versions = collect(memory, hello={**hello, "path": [entry for entry in sys.path if entry]})
    assert versions["numpy" if "numpy" in versions else "huggingface-hub"]
    for name, version in versions.items():
        assert version == importlib.metadata.version(name)
    for fact in memory.of("requirement"):
        if fact["satisfied"]:
            assert fact["installed_version"] == importlib.metadata.version(str(fact["package"]))
    (interpreter,) = memory.of("interpreter")
    assert interpreter["version"] == platform.python_version()
    assert isinstance(interpreter["memory_bytes"], int) and isinstance(interpreter["free_disk_bytes"], int)


def test_requirements_and_their_markers(tmp_path: Path) -> None:
    _install(
        tmp_path,
        "mlx-audio",
        "0.6.2",
        "mlx==0.32.4",
        "numpy>=1.26",
        "soxr>=0.3",
        'pyobjc>=9; sys_platform == "darwin"',
        'tomli; python_version < "3.11"',
        'misaki>=0.9; extra == "server"',
        'misaki>=0.9; extra == "tts"',
        'misaki>=0.9; extra == "all"',
        'ghost>=1; extra == "dev"',
        "not a requirement at all",
    )
    _install(tmp_path, "mlx", "0.31.0")
    _install(tmp_path, "numpy", "2.4.6")
    _install(tmp_path, "misaki", "0.9.4", "spacy<4", "numpy<2")
    _install(tmp_path, "unrelated", "1.0", "numpy<1")
    memory, versions = _collect(tmp_path)
    told = {
        (f["owner"], f["package"]): (f["specifier"], f["installed_version"], f["satisfied"])
        for f in memory.of("requirement")
    }
    assert told == {
        ("mlx-audio", "mlx"): ("==0.32.4", "0.31.0", False),
        ("mlx-audio", "numpy"): (">=1.26", "2.4.6", True),
        ("mlx-audio", "soxr"): (">=0.3", None, False),
        ("misaki", "spacy"): ("<4", None, False),
        ("misaki", "numpy"): ("<2", "2.4.6", False),
    }
    assert versions == {"mlx-audio": "0.6.2", "mlx": "0.31.0", "numpy": "2.4.6", "misaki": "0.9.4"}
    absent = {f["name"] for f in memory.of("package", installed=False)}
    assert {"soxr", "spacy", "transformers"} <= absent and "pyobjc" not in absent
    assert {f["name"]: f["extra"] for f in memory.of("package") if f["extra"]} == {"misaki": "tts"}
    on_mac, _ = _collect(tmp_path, hello=_MAC)
    assert on_mac.of("requirement", package="pyobjc", satisfied=False)


def test_a_pre_release_counts_as_its_version(tmp_path: Path) -> None:
    _install(tmp_path, "mlx-audio", "0.3.0rc1", "transformers>=5.0.0rc1", "mlx>=0.30")
    _install(tmp_path, "transformers", "5.0.0rc2")
    _install(tmp_path, "mlx", "0.31.0.dev20260101")
    memory, _ = _collect(tmp_path)
    assert [f["satisfied"] for f in memory.of("requirement")] == [True, True]


@pytest.mark.parametrize(
    ("hello", "packages", "library", "expected"),
    [
        (_LINUX, ["mlx"], None, None),
        (_LINUX, ["mlx", "mlx-cpu"], "libmlx.so", "mlx-cpu"),
        (_LINUX, ["mlx", "mlx-cuda-12"], "libmlx.so", "mlx-cuda-12"),
        (_LINUX, ["mlx", "mlx-cpu"], None, None),
        (_MAC, ["mlx", "mlx-metal"], "libmlx.dylib", "mlx-metal"),
        (_MAC, ["mlx"], "libmlx.dylib", "mlx"),
        (_LINUX, [], None, None),
    ],
)
def test_which_distribution_ships_the_native_library(
    tmp_path: Path, hello: dict[str, Any], packages: list[str], library: str | None, expected: str | None
) -> None:
    for name in packages:
        _install(tmp_path, name, "0.32.4")
    if library:
        (tmp_path / "mlx" / "lib").mkdir(parents=True)
        (tmp_path / "mlx" / "lib" / library).touch()
    backend = {"importable": expected is not None, "error": None if expected else "ImportError: libmlx.so: ..."}
    memory, _ = _collect(tmp_path, hello=hello, backend=backend)
    (fact,) = memory.of("backend")
    assert (fact["library_package"], fact["importable"]) == (expected, expected is not None)
    assert fact["device"] is None and fact["metal"] is None


def test_what_the_backend_says(tmp_path: Path) -> None:
    backend = {"importable": True, "device": "Device(gpu, 0)", "metal": True}
    memory, _ = _collect(tmp_path, backend=backend)
    assert memory.of("backend", importable=True, device="gpu", metal=True, error=None)
    assert _collect(tmp_path)[0].of("backend") == []


def test_a_checkout_in_front_of_an_installed_mlx_audio(tmp_path: Path) -> None:
    site, checkout = tmp_path / "site", tmp_path / "checkout"
    _install(site, "mlx-audio", "0.6.2", "soxr")
    (checkout / "mlx_audio").mkdir(parents=True)
    imported = {"directory": str(checkout / "mlx_audio"), "version": "0.3.1"}
    memory, versions = _collect(checkout, site, mlx_audio=imported)
    assert versions["mlx-audio"] == "0.3.1"
    assert [f["version"] for f in memory.of("package", name="mlx-audio")] == ["0.3.1"]
    # What another copy requires says nothing about the one that is imported.
    assert memory.of("requirement") == []


def test_metadata_beside_the_imported_package_and_an_editable_installation(tmp_path: Path) -> None:
    site, unpacked = tmp_path / "site", tmp_path / "unpacked"
    _install(site, "mlx-audio", "0.6.2", "soxr")
    _install(unpacked, "mlx-audio", "0.2.3", "misaki")
    (unpacked / "mlx_audio").mkdir()
    imported = {"directory": str(unpacked / "mlx_audio"), "version": "0.2.3"}
    memory, versions = _collect(unpacked, site, mlx_audio=imported)
    assert versions["mlx-audio"] == "0.2.3"
    assert [f["package"] for f in memory.of("requirement", owner="mlx-audio")] == ["misaki"]
    editable = {"directory": str(tmp_path / "source" / "mlx_audio"), "version": "0.6.2"}
    memory, versions = _collect(site, mlx_audio=editable)
    assert versions["mlx-audio"] == "0.6.2"
    assert [f["package"] for f in memory.of("requirement")] == ["soxr"]


def test_mlx_audio_that_is_not_there(tmp_path: Path) -> None:
    memory, versions = _collect(tmp_path, mlx_audio={"directory": None, "version": None})
    assert versions == {}
    assert memory.of("package", name="mlx-audio", installed=False)


def test_the_first_on_the_path_counts_and_leavings_do_not(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    _install(first, "Foo.Bar", "2.0")
    (first / "foo_bar-1.0.dist-info").mkdir()  # what an interrupted upgrade leaves
    (first / "~oo_bar-0.9.dist-info").mkdir()
    _install(second, "foo-bar", "3.0")
    installed = Installed([first, second, tmp_path / "nowhere", first])
    found = installed.get("foo_bar")
    assert found is not None and found.version == "2.0"
    assert installed.names() == ["foo-bar"]


def test_eggs(tmp_path: Path) -> None:
    egg = _install(tmp_path, "mlx-audio", "0.1", kind="egg-info")
    (egg / "requires.txt").write_text('numpy>=1\n\n[tts]\nmisaki\n\n[:sys_platform == "darwin"]\npyobjc\n')
    (tmp_path / "old-1.2-py3.11.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 1.2\n")
    old = Installed([tmp_path]).get("old")
    assert old is not None and old.version == "1.2" and old.requires == []
    memory, _ = _collect(tmp_path)
    assert [f["package"] for f in memory.of("requirement")] == ["numpy"]


def test_unreadable_metadata_is_a_version_from_the_name(tmp_path: Path) -> None:
    (tmp_path / "mlx-0.30.1.dist-info").mkdir()
    (tmp_path / "numpy-oops.dist-info").mkdir()
    (tmp_path / "numpy-oops.dist-info" / "METADATA").write_bytes(b"Name: numpy\nVersion: \xff\xfe\n")
    _install(tmp_path, "mlx-audio", "0.6", "numpy>=1")
    memory, versions = _collect(tmp_path)
    assert versions["mlx"] == "0.30.1"
    assert [f["satisfied"] for f in memory.of("requirement")] == [True]


@pytest.mark.parametrize(("system", "expected"), [("Linux", "linux"), ("Darwin", "darwin"), ("Windows", "win32")])
def test_marker_variables(system: str, expected: str) -> None:
    variables = marker_environment({"system": system, "python": "3.12.1", "machine": "arm64"})
    assert (variables["sys_platform"], variables["python_version"]) == (expected, "3.12")


def test_the_memory_of_a_container_is_less_than_that_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory_bytes(text: str) -> Any:
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(environment, "_CONTAINER_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "nosuch")))
        (fact,) = _collect(tmp_path)[0].of("interpreter")
        return fact["memory_bytes"]

    whole = memory_bytes("max\n")
    assert memory_bytes("1000000\n") == 1000000 and memory_bytes(str(whole * 2)) == whole
