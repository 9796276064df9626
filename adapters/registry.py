"""The registry: models that were seen to load, with what, and how that was seen.

The user's entries lie in the data directory of this tool, one JSON file each, on top of the known-good
configurations that ship. An entry holds config.json, the names, types and shapes of the tensors
with their digest, the versions it loaded with, and how the load was verified; no weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters.model_copy import files_of
from mlx_diagnose.adapters.safetensors_file import read_header
from mlx_diagnose.collectors.tensors import safetensors_dtype
from mlx_diagnose.engine.model import DiagnoseError, ExitCode
from mlx_diagnose.engine.specimen import Tensor, collapse, expand

VERSION = "1"
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")

#: Tensors by weights file and type; names collapsed (``layers.{0..27}.weight``), unless one has such braces itself.
Table = dict[str, dict[str, dict[str, list[int]]]]
_RANGE = re.compile(r"\{\d+\.\.\d+\}")


class RegistryError(DiagnoseError):
    """An entry that cannot be read or written: exit 4."""

    exit_code = ExitCode.INVALID_RULES


@dataclass(frozen=True)
class Entry:
    """A model that loads. ``model`` is its name or id, ``directory`` where it lay, if it was local.

    ``basis`` is ``loaded`` for entries of the user, else that of the known-good configuration.
    ``mend`` is what it was mended with (config_patch, weight_map, shims), empty if nothing was needed.
    """

    id: str
    model: str
    category: str
    family: str | None
    config: Mapping[str, Any]
    tensors: Table = field(default_factory=dict)
    collapsed: bool = True
    digest: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    basis: str = "loaded"
    how: str = ""
    verified_at: str | None = None
    directory: str | None = None
    files: tuple[str, ...] = ()
    mend: Mapping[str, Any] = field(default_factory=dict)
    source: str = "yours"

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """The tensors by weights file, names written out."""
        return {file: _names(types, self.collapsed) for file, types in self.tensors.items()}


def entry_id(model: str) -> str:
    """The id of an entry for ``model``: its last part, in small letters."""
    name = re.sub(r"[^a-z0-9._-]+", "-", model.rstrip("/").rsplit("/", 1)[-1].lower()).strip("-._")
    return name[:100] or "model"


def table_of(directory: Path) -> tuple[Table, bool]:
    """Names, types and shapes of all safetensors files under ``directory``, and whether names are collapsed.

    Raises UnwritableError, OSError.
    """
    files: dict[str, dict[str, Tensor]] = {}
    for path in files_of(directory):
        if path.suffix == ".safetensors":
            files[str(path.relative_to(directory))] = {
                name: (safetensors_dtype(entry.dtype), entry.shape) for name, entry in read_header(path).tensors.items()
            }
    collapsed = not any(_RANGE.search(name) for tensors in files.values() for name in tensors)
    table: Table = {}
    for file, tensors in sorted(files.items()):
        types: dict[str, dict[str, list[int]]] = {}
        for name, (dtype, shape) in (collapse(tensors) if collapsed else tensors).items():
            types.setdefault(dtype, {})[name] = list(shape)
        table[file] = types
    return table, collapsed


def digest_of(table: Table, collapsed: bool = True) -> str:
    """SHA-256 of all names, types and shapes, whatever the files and their order."""
    rows = sorted(
        json.dumps([name, dtype, list(shape)])
        for types in table.values()
        for name, (dtype, shape) in _names(types, collapsed).items()
    )
    return "sha256:" + hashlib.sha256("\n".join(rows).encode()).hexdigest()


def write(entry: Entry, folder: Path) -> Path:
    """Keep ``entry`` in ``folder``; an older one of its id is replaced. Raises OSError; the old one is whole then."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{entry.id}.json"
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(to_text(entry), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def to_text(entry: Entry) -> str:
    """An entry as JSON."""
    document = {"version": VERSION, **{key: value for key, value in asdict(entry).items() if key != "source"}}
    return json.dumps(document, indent=2) + "\n"


def read(path: Path) -> Entry:
    """The entry in a file. Raises RegistryError."""
    try:
        document = json.loads(path.read_bytes())
        if document.pop("version") != VERSION:
            raise ValueError("its version is another")
        entry = Entry(**{**document, "files": tuple(document["files"]), "source": "yours"})
        if not isinstance(entry.config, dict) or not ID.fullmatch(entry.id) or entry.id != path.stem:
            raise ValueError("its config or its id is none")
        if entry.tensors and digest_of(entry.tensors, entry.collapsed) != entry.digest:
            raise ValueError("its tensors are not those of its digest")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RegistryError(
            "invalid-registry-entry",
            f"{path} is no entry of the registry.",
            why=f"Reason: {error}.",
            next_step="Remove it, and add the model again: diagnose registry add MODEL.",
        ) from None
    return entry


def entries(folder: Path) -> tuple[list[Entry], list[RegistryError]]:
    """The user's entries by id, and what cannot be read."""
    found: list[Entry] = []
    broken: list[RegistryError] = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.append(read(path))
        except RegistryError as error:
            broken.append(error)
    return found, broken


def built_in() -> list[Entry]:
    """The known-good configurations as entries, by category and family."""
    from mlx_diagnose.knowledge_base.configurations import known_good_configurations

    found = []
    for (category, family), known in sorted(known_good_configurations().items()):
        tensors: Table = json.loads(known.table.read_bytes()) if known.table.is_file() else {}
        found.append(
            Entry(
                id=family,
                model=known.models[0] if known.models else family,
                category=category,
                family=family,
                config=known.config(),
                tensors=tensors,
                digest=digest_of(tensors) if tensors else "",
                basis=known.basis,
                how=known.source,
                files=known.files,
                source="built-in",
            )
        )
    return found


def _names(types: Mapping[str, Mapping[str, list[int]]], collapsed: bool) -> dict[str, Tensor]:
    flat = {name: (dtype, tuple(shape)) for dtype, part in types.items() for name, shape in part.items()}
    return expand(flat) if collapsed else flat
