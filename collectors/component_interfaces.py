"""Numbers that a model and what comes with it must agree on, and do not: no load compares them.

MLX does not check the index into an embedding table: a token beyond its end gives whatever lies
there, so a model with another's tokenizer loads, and makes noise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_NAME = "component_interfaces"
_TOKENIZER = "tokenizer.json"
_ADDED = re.compile(r'"added_tokens"\s*:\s*(?=\[)')
#: Names of tables of tokens; ``lm_head`` has as many rows, and stands for one that is tied to it.
_TABLE = re.compile(r"(?:^|\.)(?:\w*embed\w*|wte|lm_head)\.weight$")


def collect(memory: WorkingMemory, directory: Path, table: TensorTable, config: Mapping[str, Any]) -> None:
    """Assert ``component_interface`` where tokenizer.json has tokens that no table of the weights holds.

    Told only of a table that is the tallest matrix of all and as tall as the config says its vocabulary is:
    whichever table the tokens are looked up in, it ends before them.
    """
    matrices = [(info.shape[0], name) for name, info in table.items() if len(info.shape) == 2]
    if not matrices:
        return
    rows = max(matrices)[0]
    name = next((name for height, name in matrices if height == rows and _TABLE.search(name)), None)
    key = next((path for path, value in _vocabularies(config) if value == rows), None)
    if name is None or key is None:
        return
    beyond = sorted((number, text) for number, text in _added(directory / _TOKENIZER) if number >= rows)
    if not beyond:
        return
    memory.add(
        "component_interface",
        Provenance(_NAME, str(directory / _TOKENIZER)),
        component="tokenizer",
        file=_TOKENIZER,
        quantity="token id",
        count=len(beyond),
        value=beyond[-1][0],
        example=beyond[0][1],
        tensor=name,
        limit=rows,
        config_path=key,
    )


def _vocabularies(config: Mapping[str, Any], base: str = "") -> Iterator[tuple[str, int]]:
    for key, value in config.items():
        path = f"{base}.{key}" if base else str(key)
        if isinstance(value, Mapping):
            yield from _vocabularies(value, path)
        elif "vocab" in str(key) and type(value) is int:
            yield path, value


def _added(file: Path) -> list[tuple[int, str]]:
    """Id and text of the added tokens of a tokenizer.json: the highest ids there are.

    They stand before the vocabulary, which is megabytes of JSON and is not read.
    """
    try:
        text = file.read_text(encoding="utf-8")
        found = _ADDED.search(text)
        tokens = json.JSONDecoder().raw_decode(text, found.end())[0] if found is not None else []
    except (OSError, ValueError, RecursionError):
        return []
    return [
        (token["id"], str(token.get("content")))
        for token in tokens
        if isinstance(token, dict) and type(token.get("id")) is int
    ]
