"""Adapters of packages, of the user and of an app; a broken one is told and does not hide the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.adapters import discovery
from mlx_diagnose.adapters.adapter import Adapter
from mlx_diagnose.adapters.adapter_yaml import InvalidAdapter
from mlx_diagnose.adapters.discovery import find_adapters, read_file

YAML = "adapter: {name}\nmodels: [m]\n"
PYTHON = """\
from mlx_diagnose.adapters import Adapter

def wider(config):
    return {{**config, "width": 2}}

ADAPTERS = [Adapter("{name}", models=("m*",), mend_config=wider)]
"""


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_registered", {})


def test_the_users_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML.format(name="a"))
    (tmp_path / "b.py").write_text(PYTHON.format(name="b"))
    (tmp_path / "broken.yaml").write_text("adapter: c\nmodels: [m]\nshims: [nothing-such]\n")
    (tmp_path / "raises.py").write_text("\n\n1 / 0\n")
    (tmp_path / "_left_out.py").write_text("1 / 0\n")
    (tmp_path / "notes.txt").write_text("x")
    found, broken = find_adapters(plugins=False, folder=tmp_path)
    assert list(found) == ["a", "b"]
    assert found["b"].mended_config({"width": 1}) == {"width": 2}
    assert found["a"].source == str(tmp_path / "a.yaml")
    assert [Path(place.source).name for place in broken] == ["broken.yaml", "raises.py"]
    assert "broken.yaml:3:8" in broken[0].reason
    assert "raises.py:3:1: it raises ZeroDivisionError" in broken[1].reason


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_pack.py").write_text(PYTHON.format(name="packed"))
    info = tmp_path / "some_pack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[mlx_diagnose.adapters]\nall = some_pack\nlist = some_pack:ADAPTERS\nwrong = some_pack:wider\ngone = gone:x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found, broken = find_adapters(folder=tmp_path / "none")
    assert found["packed"].source.startswith("entry point ")
    assert [place.source.split()[2] for place in broken] == ["gone", "wrong"]
    assert find_adapters(plugins=False, folder=tmp_path / "none") == ({}, [])


def test_a_registered_one_comes_before_all(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML.format(name="a"))
    mine = discovery.register(Adapter("a", title="mine"))
    assert find_adapters(plugins=False, folder=tmp_path)[0] == {"a": mine}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.py", "def (", "a.py:1:5: not valid Python"),
        ("a.py", "x = 1", "a.py:1:1: it has no ADAPTERS"),
        ("a.py", "ADAPTERS = 3", "a.py:1:1: ADAPTERS is an Adapter or a list of them, not int"),
        ("a.txt", "", "a.txt:1:1: an adapter file ends in"),
        ("a.yaml", "\xff", "a.yaml:1:1: an adapter must be a mapping"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidAdapter) as caught:
        read_file(tmp_path / name)
    assert said in caught.value.why


@pytest.mark.parametrize(
    ("adapter", "model", "model_type", "wanted"),
    [
        (Adapter("a", models=("Kokoro-82M*",)), "org/kokoro-82m-bf16", None, True),
        (Adapter("a", models=("org/Kokoro",)), "org/Kokoro", None, True),
        (Adapter("a", models=("org/Kokoro",)), "other/Kokoro", None, False),
        (Adapter("a", models=("Kokoro",)), "/models/Kokoro/", None, True),
        (Adapter("a", families=("kokoro",)), "x", "kokoro", True),
        (Adapter("a", families=("kokoro",)), "kokoro", "csm", False),
        (Adapter("a", models=("x",), families=("kokoro",)), "x", "csm", False),
        (Adapter("a"), "x", "csm", False),
    ],
)
def test_what_an_adapter_is_for(adapter: Adapter, model: str, model_type: str | None, wanted: bool) -> None:
    assert adapter.is_for(model, model_type) is wanted


def test_releases() -> None:
    limited = Adapter("a", mlx_audio=">=0.4,<0.6")
    assert limited.supports("0.5.1") and limited.supports("0.5.0rc1")
    assert not limited.supports("0.6.0")
    assert Adapter("a").supports("0.1")


def test_the_library_is_imported_without_anything_heavy() -> None:
    program = (
        "import sys; import mlx_diagnose.adapters as a; light = set(sys.modules); a.load, a.register, a.Adapter\n"
        "print('yaml' in light, {'mlx', 'mlx_audio', 'transformers', 'libcst'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False set()"
