"""Entries of the registry: written whole, read strictly, with a digest of what the tensors are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_diagnose.adapters import registry
from mlx_diagnose.adapters.registry import Entry, RegistryError, built_in, digest_of, entry_id, table_of
from tests.adapters import stored


def entry(**changes: Any) -> Entry:
    table = {"model.safetensors": {"F32": {"layers.{0..3}.weight": [4, 2]}}}
    made = Entry("some", "org/Some", "tts", "soprano", {"a": 1}, table, True, digest_of(table))
    return replace(made, **changes)


def test_an_entry_reads_back(tmp_path: Path) -> None:
    path = registry.write(entry(files=("tokenizer.json",)), tmp_path / "new")
    assert registry.read(path) == entry(files=("tokenizer.json",))
    assert registry.entries(tmp_path / "new") == ([registry.read(path)], [])
    assert len(registry.read(path).weights()["model.safetensors"]) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"digest": "sha256:0"},
        {"config": []},
        {"id": "other"},
        {"surplus": 1},
        {"tensors": {"model.safetensors": {"F32": {"layers.{0..4}.weight": [4, 2]}}}},
    ],
)
def test_what_is_no_entry_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    path = registry.write(entry(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RegistryError) as caught:
        registry.read(path)
    assert caught.value.exit_code == 4
    found, broken = registry.entries(tmp_path)
    assert (found, len(broken)) == ([], 1)


def test_tables_and_digests(tmp_path: Path) -> None:
    arrays = stored.arrays()
    (tmp_path / "codec").mkdir()
    stored.write(tmp_path / "model.safetensors", arrays)
    stored.write(tmp_path / "codec" / "x.safetensors", {"w": np.zeros(3, np.float16)})
    table, collapsed = table_of(tmp_path)
    assert collapsed
    assert list(table) == ["codec/x.safetensors", "model.safetensors"]
    assert table["model.safetensors"]["F32"] == {"model.layers.{0..2}.weight": [4, 3, 2]}
    # Files and order play no part, a name does.
    (tmp_path / "model.safetensors").unlink()
    stored.write(tmp_path / "a.safetensors", dict(list(arrays.items())[::-1]))
    assert digest_of(table_of(tmp_path)[0]) == digest_of(table)
    stored.write(tmp_path / "a.safetensors", {**arrays, "more": np.zeros(1, np.float32)})
    assert digest_of(table_of(tmp_path)[0]) != digest_of(table)


def test_names_with_braces_of_their_own_stay(tmp_path: Path) -> None:
    stored.write(tmp_path / "model.safetensors", {"a.{0..9}.w": np.zeros(2, np.float32), "b": np.zeros(1, np.float32)})
    table, collapsed = table_of(tmp_path)
    made = entry(tensors=table, collapsed=collapsed, digest=digest_of(table, collapsed))
    assert set(made.weights()["model.safetensors"]) == {"a.{0..9}.w", "b"}
    assert registry.read(registry.write(made, tmp_path / "r")) == made


def test_those_that_ship() -> None:
    known = {found.id: found for found in built_in()}
    assert known["soprano"].weights()
    assert known["kokoro"].config["istftnet"]
    assert {found.source for found in known.values()} == {"built-in"}


@pytest.mark.parametrize(
    ("model", "wanted"), [("org/Kokoro-82M", "kokoro-82m"), ("/a/b c/", "b-c"), ("../..", "model"), ("ü", "model")]
)
def test_ids(model: str, wanted: str) -> None:
    assert entry_id(model) == wanted
    assert registry.ID.fullmatch(entry_id(model))
