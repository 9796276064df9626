"""A tokenizer that transformers made of nothing is told from one that has its vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.probes import bare_tokenizers
from tests.specimens.tokenizers import write_tokenizer


class Part:
    """As a module of mlx-audio: an object with attributes."""

    __module__ = "mlx_audio.stt.models.mine"

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


def test_a_tokenizer_made_without_files_is_told(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    write_tokenizer(tmp_path, ["[STOP]"])
    whole = transformers.PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    try:
        bare = transformers.Qwen2Tokenizer()
    except TypeError:
        pytest.skip("this transformers makes none without files")
    model = Part(_model=Part(_tokenizer=bare, text=whole), name="x")
    (found,) = bare_tokenizers.found(model)
    assert (found["part"], found["class_name"]) == ("model._model._tokenizer", type(bare).__name__)
    assert bare_tokenizers.found(Part(_tokenizer=whole)) == []
