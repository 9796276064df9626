"""Which models a scan looks at, and what it comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.scan import models_of, worst


def model(path: Path, *, weights: bool = False) -> Path:
    path.mkdir(parents=True)
    (path / ("model.safetensors" if weights else "config.json")).write_text("{}")
    return path


def cached(hub: Path, repo: str) -> None:
    (hub / ("models--" + repo.replace("/", "--")) / "snapshots").mkdir(parents=True)


def test_a_folder_stands_for_the_models_in_it(tmp_path: Path) -> None:
    first, second = model(tmp_path / "a"), model(tmp_path / "org" / "b", weights=True)
    model(tmp_path / "a" / "speech_tokenizer")  # a part of a model is none
    model(tmp_path / "x" / "y" / "too-deep")
    model(tmp_path / ".hidden")
    assert models_of([str(tmp_path)]) == [str(first), str(second)]
    assert models_of([str(first), "org/name", str(first)]) == [str(first), "org/name"]


def test_without_a_word_it_is_the_hub_cache(tmp_path: Path) -> None:
    environ = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    cached(tmp_path / "hub", "org/b")
    cached(tmp_path / "hub", "a/c")
    (tmp_path / "hub" / "datasets--org--data").mkdir()
    assert models_of([], environ) == ["a/c", "org/b"]
    assert models_of([str(tmp_path / "hub")], environ) == ["a/c", "org/b"]
    with pytest.raises(UsageError) as caught:
        models_of([str(tmp_path / "hub")], {"HF_HUB_CACHE": str(tmp_path / "other")})
    assert caught.value.next_step == f"HF_HUB_CACHE={tmp_path / 'hub'} diagnose scan"


def test_a_folder_without_models_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model"):
        models_of([str(tmp_path)])


def test_the_worst_code_counts() -> None:
    assert worst([]) == 0
    assert worst([0, 3, 0]) == 3
    assert worst([3, 1, 0]) == 1
    assert worst([1, 2, 3]) == 2
