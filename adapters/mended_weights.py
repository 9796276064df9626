"""Which weights files of a directory a weight map changes, and what is to stand in each of them then.

A tensor stays in the file of the first tensor that it is made of; files of which no tensor
changes are not written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters import weight_map
from mlx_diagnose.adapters.safetensors_file import Header, UnwritableError, byte_size, read_header
from mlx_diagnose.adapters.tensor_recipe import Recipe, Stored, stored
from mlx_diagnose.adapters.weight_operations import WeightMapError

_INDEX = "*.safetensors.index.json"


@dataclass(frozen=True)
class MendedWeights:
    """``files`` to write: their recipes by tensor, in order. ``sources`` are all files that were read.

    ``indices`` are the index files with their new text.
    """

    sources: Mapping[Path, Header]
    files: Mapping[str, Mapping[str, Recipe]]
    indices: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """What will be written."""
        return sum(
            byte_size(recipe.dtype, recipe.shape) for recipes in self.files.values() for recipe in recipes.values()
        )


def plan(directory: Path, operations: Sequence[Mapping[str, Any]]) -> MendedWeights:
    """What ``operations`` make of the weights that the loader reads in ``directory``, ``*.safetensors`` at its top.

    Raises UnwritableError where they do not fit or the weights are in no such files, OSError.
    """
    if not operations:
        return MendedWeights({}, {}, {})
    sources = {path: read_header(path) for path in sorted(directory.glob("*.safetensors"))}
    file_of: dict[str, Path] = {}
    for path, header in sources.items():
        for name in header.tensors:
            if name in file_of:
                raise _unfit(f"{name!r} stands in both {file_of[name].name} and {path.name}")
            file_of[name] = path
    if not file_of:
        raise _unfit("there is no safetensors file at the top of the directory")
    table = {name: (entry.dtype, entry.shape) for header in sources.values() for name, entry in header.tensors.items()}
    try:
        recipes = weight_map.plan(operations, table)
    except WeightMapError as error:
        raise _unfit(str(error)) from None
    largest = max(sources, key=lambda path: len(sources[path].tensors))
    files: dict[Path, dict[str, Recipe]] = {path: {} for path in sources}
    for name, recipe in recipes.items():
        made_of = stored(recipe)
        files[file_of[made_of[0].name] if made_of else largest][name] = recipe
    changed = {path.name: made for path, made in files.items() if not _as_it_is(made, sources[path])}
    where = {name: path.name for path, made in files.items() for name in made}
    total = sum(byte_size(recipe.dtype, recipe.shape) for recipe in recipes.values())
    return MendedWeights(sources, changed, _indices(directory, where, total))


def _as_it_is(recipes: Mapping[str, Recipe], header: Header) -> bool:
    return list(recipes) == list(header.tensors) and all(
        isinstance(recipe, Stored) and recipe.name == name for name, recipe in recipes.items()
    )


def _indices(directory: Path, where: Mapping[str, str], total: int) -> dict[str, str]:
    """The text of each index file, brought up to date; one that is none is left as it is."""
    made = {}
    for path in sorted(directory.glob(_INDEX)):
        try:
            document = json.loads(path.read_bytes())
            listed = document["weight_map"]
            if not isinstance(listed, dict):
                continue
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        files = set(listed.values())
        document["weight_map"] = {name: file for name, file in where.items() if file in files}
        if isinstance(document.get("metadata"), dict) and "total_size" in document["metadata"]:
            document["metadata"]["total_size"] = total
        made[path.name] = json.dumps(document, indent=2) + "\n"
    return made


def _unfit(why: str) -> UnwritableError:
    return UnwritableError(
        "weights-do-not-fit",
        "The weights cannot be mended as the fix says.",
        why=f"Reason: {why}.",
        next_step="Diagnose the model again: its files may have changed.",
    )
