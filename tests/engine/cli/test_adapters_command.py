"""``diagnose adapters``: list, show, validate and emit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.cli.conftest import Ran

YAML = """\
adapter: widened
title: width is 2
models: ["Some-*"]
config_patch:
  - {op: replace, path: /width, value: 2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of adapters, with one in it."""
    from mlx_diagnose.adapters import discovery

    path = tmp_path / "adapters"
    path.mkdir()
    (path / "widened.yaml").write_text(YAML)
    monkeypatch.setattr(discovery, "adapters_folder", lambda: path)
    return path


def test_list(command: Callable[..., Ran], folder: Path) -> None:
    (folder / "broken.yaml").write_text("adapter: x\n")
    ran = command("adapters", "list")
    assert ran.code == 0
    shown = " ".join(ran.out.split())  # a long path wraps
    assert "widened" in shown and "for models Some-*" in shown and "broken.yaml cannot be used" in shown
    document = json.loads(command("adapters", "list", "--json").out)
    assert [adapter["name"] for adapter in document["adapters"]] == ["widened"]
    assert len(document["broken"]) == 1


def test_none(command: Callable[..., Ran], folder: Path) -> None:
    (folder / "widened.yaml").unlink()
    assert "There are none." in command("adapters", "list").out


def test_show(command: Callable[..., Ran], folder: Path) -> None:
    ran = command("adapters", "show", "widened")
    assert (ran.code, "config_patch:" in ran.out) == (0, True)
    absent = command("adapters", "show", "widend")
    assert absent.code == 2
    assert "Did you mean 'widened'?" in absent.err


def test_validate(command: Callable[..., Ran], folder: Path) -> None:
    good, bad = folder / "widened.yaml", folder / "bad.yaml"
    bad.write_text(YAML.replace("replace", "replaced"))
    assert command("adapters", "validate", str(good)).code == 0
    ran = command("adapters", "validate", str(good), str(bad))
    assert ran.code == 4
    assert "bad.yaml:5:5: not an operation of RFC 6902" in " ".join(ran.err.split())
    assert "widened" in ran.out


def test_emit(command: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "Some-Model"
    model.mkdir()
    (model / "config.json").write_text('{"width": 1}')
    ran = command("adapters", "emit", "widened", str(model))
    assert ran.code == 0
    assert 'config["width"] = 2' in ran.out
    compile(ran.out, "adapter", "exec")
    assert command("adapters", "emit", str(folder / "widened.yaml"), str(model)).out == ran.out
    (model / "config.json").write_text("{}")
    refused = command("adapters", "emit", "widened", str(model))
    assert (refused.code, "adapter-does-not-fit" in refused.err) == (2, True)
