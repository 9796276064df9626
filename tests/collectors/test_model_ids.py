"""What a mistyped model was meant to be: repositories written another way, and paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.hub_nearest import alike, cached_ids, known_ids, same_numbers
from mlx_diagnose.collectors.model_ids import collect, is_id, near_paths, read_as
from mlx_diagnose.engine.memory import WorkingMemory

KNOWN = ["mlx-community/Kokoro-82M-bf16", "mlx-community/Kokoro-82M-4bit", "hexgrad/Kokoro-82M", "org/voice"]


@pytest.mark.parametrize(
    ("word", "best"),
    [
        ("mlx-comunity/Kokoro-82M-bf16", "mlx-community/Kokoro-82M-bf16"),
        ("mlx-community/kokoro-82m-bf16x", "mlx-community/Kokoro-82M-bf16"),
        ("mlx-community/Kokoro_82M_bf16", "mlx-community/Kokoro-82M-bf16"),
        ("Kokoro-82M", "hexgrad/Kokoro-82M"),
        ("org/vioce", "org/voice"),
        ("mlx-community/Kokoro-82M-8bit", None),  # another precision is another model
        ("mlx-community/Kokoro-28M-bf16", None),
        ("org/something-else", None),
        ("", None),
    ],
)
def test_the_nearest_id(word: str, best: str | None) -> None:
    found = [repo for _, repo in alike(word, KNOWN) if same_numbers(word, repo)]
    assert (found[0] if found else None) == best


def test_known_models_are_ids() -> None:
    assert "mlx-community/Kokoro-82M-bf16" in known_ids()
    assert all("/" not in model or is_id(model) for model in known_ids())


def test_cached_ids_are_models_that_the_cache_holds(tmp_path: Path) -> None:
    for name in ("models--org--voice", "datasets--org--data", ".locks", "models--a--b-c.d"):
        (tmp_path / name).mkdir(parents=True)
    assert sorted(cached_ids(tmp_path)) == ["a/b-c.d", "org/voice"]
    assert cached_ids(tmp_path / "nowhere") == []


@given(st.text())
def test_whatever_is_read_as_a_repository_is_an_id(word: str) -> None:
    meant = read_as(word)
    assert meant is None or is_id(meant.repo)
    near_paths(word.replace("\0", ""))


def test_an_id_whose_owner_is_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "voices").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    memory = WorkingMemory()
    collect(memory, "org/vioce")
    collect(memory, "other/voice")
    (path,) = memory.of("path_lookalike")
    assert (path["parent"], path["nearest"]) == ("org", "./org/voices")
    assert path["parent_path"] == os.path.join(str(tmp_path), "org")
