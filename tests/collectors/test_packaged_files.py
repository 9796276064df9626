from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.collectors.packaged_files import collect, named_beside
from mlx_diagnose.engine.memory import WorkingMemory

FOLDER = "mlx_audio/tts/models/voice"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir(parents=True)
    return tmp_path / "mlx_audio"


def write(package: Path, source: str, name: str = "voice.py") -> Path:
    file = package.parent / FOLDER / name
    file.write_text(source, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "expression",
    [
        'f"{Path(__file__).parent}/data.json"',
        'Path(__file__).parent / "data.json"',
        'Path(__file__).resolve().parent.joinpath("data.json")',
        'Path(__file__).with_name("data.json")',
        'os.path.join(os.path.dirname(os.path.abspath(__file__)), "data.json")',
        'str(Path(__file__).parent) + "/data.json"',
    ],
)
def test_a_constant_path_from_the_modules_own_place_is_read(package: Path, expression: str) -> None:
    file = write(package, f"import os\nfrom pathlib import Path\nWHERE = {expression}\n")
    assert list(named_beside(file)) == [(3, file.with_name("data.json"))]


@pytest.mark.parametrize(
    "expression",
    ['Path(folder) / "data.json"', "Path(__file__).parent / name", 'Path(__file__).parent / "w.safetensors"', "("],
)
def test_what_is_not_constant_or_no_data_is_left_alone(package: Path, expression: str) -> None:
    assert list(named_beside(write(package, f"WHERE = {expression}\n"))) == []


def test_only_what_is_not_there_becomes_a_fact(package: Path) -> None:
    file = write(package, 'A = __file__\nB = Path(__file__).parent / "a.json"\nC = Path(__file__).parent / "b.json"\n')
    file.with_name("a.json").touch()
    memory = WorkingMemory()
    collect(memory, package, "tts", "voice")
    (fact,) = memory.of("packaged_file")
    assert (fact["name"], fact["file"], fact["line"]) == ("b.json", str(file), 3)
