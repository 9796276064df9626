"""What a wheel and an sdist hold, built from a copy of the checkout without the network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("adapters", "collectors", "engine", "knowledge_base", "rules")
LITTER = shutil.ignore_patterns("__pycache__", ".DS_Store")


def run(program: str, directory: Path) -> str:
    ran = subprocess.run([sys.executable, "-c", program], cwd=directory, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def build(what: str, source: Path, out: Path) -> Path:
    """What pip does: the hooks of the build backend, here without a fresh environment."""
    run(f"from setuptools import build_meta; build_meta.build_{what}({str(out)!r})", source)
    (made,) = out.iterdir()
    return made


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("checkout")
    for folder in (*FOLDERS, "mlx_diagnose"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=LITTER)
    for file in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / file, copy / file)
    return copy


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def wheel(checkout: Path, out: Callable[[], Path]) -> Path:
    return build("wheel", checkout, out())


def test_a_wheel_holds_the_product_under_one_name(checkout: Path, wheel: Path) -> None:
    expected = {
        f"mlx_diagnose/{file.relative_to(checkout).as_posix()}"
        for folder in FOLDERS
        for file in (checkout / folder).glob("**/*")
        if file.is_file()
    }
    expected |= {f"mlx_diagnose/{file.name}" for file in (checkout / "mlx_diagnose").iterdir() if file.is_file()}
    assert wheel_files(wheel) == expected


def test_a_wheel_works_away_from_the_checkout(wheel: Path, out: Callable[[], Path]) -> None:
    site, elsewhere = out(), out()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from importlib.resources import files\n"
        "import mlx_diagnose.engine.model as model\n"
        "assert model.__file__.startswith(sys.path[0]), model.__file__\n"
        "from mlx_diagnose.knowledge_base import data\n"
        "assert data.__file__.startswith(sys.path[0])\n"
        "print(files('mlx_diagnose.knowledge_base').joinpath('families.yaml').is_file())\n"
        "print(any(file.suffix == '.yaml' for file in files('mlx_diagnose.rules').rglob('*')))\n"
        "for name in ('engine', 'rules', 'adapters', 'collectors', 'knowledge_base'):\n"
        "    try: __import__(name)\n"
        "    except ModuleNotFoundError: pass\n"
        "    else: print(name, 'is importable at top level')\n"
    )
    assert run(program, elsewhere).split() == ["True", "True"]


def test_the_base_install_brings_nothing_of_the_patient(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        required = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist")
    base = [requirement for requirement in required if "extra ==" not in requirement]
    assert base
    assert not [line for line in base if line.startswith(("mlx", "durable", "transformers", "torch", "numpy"))]


def test_an_sdist_builds_the_same_wheel(checkout: Path, wheel: Path, out: Callable[[], Path]) -> None:
    sdist, unpacked = build("sdist", checkout, out()), out()
    with tarfile.open(sdist) as archive:
        members = {member.name.split("/", 1)[-1] for member in archive.getmembers()}
        # Not in the first patch releases of 3.10 and 3.11, which distributions still have.
        archive.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert {"CHANGELOG.md", "LICENSE", "README.md"} <= members
    assert not [name for name in members if name.startswith("tests")]
    (source,) = unpacked.iterdir()
    assert wheel_files(build("wheel", source, out())) == wheel_files(wheel)


def test_what_was_removed_is_not_shipped_again(checkout: Path, wheel: Path, out: Callable[[], Path]) -> None:
    passing = checkout / "rules" / "passing.yaml"
    passing.write_text("id: passing\n", encoding="utf-8")
    assert "mlx_diagnose/rules/passing.yaml" in wheel_files(build("wheel", checkout, out()))
    passing.unlink()
    assert wheel_files(build("wheel", checkout, out())) == wheel_files(wheel)
