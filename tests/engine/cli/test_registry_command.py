"""``diagnose registry``: a real model added, shown, and loaded again from its entry alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlx_diagnose.adapters.registry import built_in
from tests.specimens import make_specimen

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Ran


def test_a_model_is_added_and_verified_without_its_weights(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specimen = make_specimen("dia", tmp_path / "models")
    for name, value in specimen.environment.items():
        monkeypatch.setenv(name, value)
    added = command("registry", "add", str(specimen.path))
    assert added.code == 0, added.err
    shown = json.loads(command("registry", "show", "dia-1.6b").out)
    assert shown["config"] == json.loads((specimen.path / "config.json").read_text())
    assert shown["packages"]["mlx-audio"]
    shutil.rmtree(specimen.path)
    verified = command("registry", "verify", "dia-1.6b")
    assert (verified.code, "dia-1.6b loads with mlx-audio" in verified.out) == (0, True), verified.out + verified.err
    path = tmp_path / "home" / "registry" / "dia-1.6b.json"
    spoilt = json.loads(path.read_text())
    spoilt["config"]["model"] = {**spoilt["config"].get("model", {}), "decoder": {}}
    path.write_text(json.dumps(spoilt))
    assert command("registry", "verify", "dia-1.6b").code == 1


def test_a_broken_model_is_not_added(command: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    ran = command("registry", "add", str(tmp_path / "m"))
    assert (ran.code, "does-not-load" in ran.err) == (2, True)
    assert not (tmp_path / "home" / "registry").exists()


def test_list_and_show(command: Callable[..., Ran], tmp_path: Path) -> None:
    document = json.loads(command("registry", "list", "--json").out)
    assert {entry["source"] for entry in document["entries"]} == {"built-in"}
    assert "soprano" in command("registry", "list").out
    folder = tmp_path / "home" / "registry"
    folder.mkdir(parents=True)
    (folder / "bad.json").write_text("{}")
    assert len(json.loads(command("registry", "list", "--json").out)["broken"]) == 1
    absent = command("registry", "show", "sopranoo")
    assert (absent.code, "Did you mean 'soprano'?" in absent.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("soprano", 0, "soprano loads with mlx-audio"),
        pytest.param("bark", 0, "bark loads with mlx-audio", marks=pytest.mark.long),
        pytest.param(
            "chatterbox",
            3,
            "chatterbox: its tensors fit the model that its config makes; not tried to the end",
            marks=pytest.mark.long,
        ),
        # Its module, which fetches SNAC, is imported.
        pytest.param("llama", 3, "construct wants what the registry does not keep", marks=pytest.mark.long),
        ("confucius4", 3, "construct wants what the registry does not keep"),
    ],
)
def test_one_that_ships_is_verified(
    command: Callable[..., Ran], name: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its config and the names and shapes of its tensors, full-size, with nothing in the hub's cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    ran = command("registry", "verify", name)
    assert (ran.code, said in ran.out) == (code, True), ran.out


def test_tensors_of_all_that_ship_are_known() -> None:
    assert [entry.id for entry in built_in() if not entry.tensors] == []
