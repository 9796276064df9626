"""What makes a family's specimen: the words the family modules are written in.

Standard library only: a specimen is written without MLX. What needs the patient's classes
(names and shapes of parameters) was worked out once by ``tests.specimens.generate`` and is
kept as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from mlx_diagnose.engine.specimen import Tensor

Config: TypeAlias = Mapping[str, Any]
Tensors: TypeAlias = dict[str, Tensor]
#: Tensors of a specimen by weights file, relative to its directory.
Files: TypeAlias = dict[str, Tensors]

MAIN_FILE = "model.safetensors"


def as_loaded(parameters: Tensors, config: Config) -> Files:
    """The checkpoint has the model's own names and shapes; ``sanitize`` leaves them alone."""
    return {MAIN_FILE: parameters}


def no_side_files(directory: Path, config: Config) -> None:
    """Nothing beside config.json and the weights."""


def no_parts(directory: Path, config: Config) -> Files:
    """All weights belong to the model that the loader fills."""
    return {}


@dataclass(frozen=True)
class Repository:
    """A companion repository of the hub: its id, and what writes its snapshot.

    ``write`` gets the snapshot's directory. ``build`` runs in the patient, in
    ``tests.specimens.generate``, and returns the weights files of a codec; ``table`` is the
    name under which they are kept.
    """

    id: str
    write: Callable[[Path], None] = lambda directory: None
    table: str | None = None
    build: Callable[[], Files] | None = None


@dataclass(frozen=True)
class Failure:
    """Why a family's whole specimen does not load in this environment: itself a specimen of that failure.

    ``message`` is a part of the exception's text, ``subject`` the package that is missing.
    """

    exception: str
    message: str
    subject: str


@dataclass(frozen=True)
class Recipe:
    """How a family's checkpoint looks.

    ``name`` is the directory's name, that of a published repository: the loader takes parts
    of it for model types. ``small`` overrides the known-good configuration, section by
    section. ``dtype`` is the published type of floating-point tensors (text, or a function of the
    tensor's name). ``module`` finds the part of the model that ``load_weights`` fills.
    ``layout`` turns parameters into the checkpoint that ``sanitize`` expects, for which see
    ``tests.specimens.layouts``. ``parts`` runs in the patient when the side files are there, and
    returns the weights files of parts that the family loads by itself.
    ``needs`` are import names of packages that the family imports and that mlx-audio does not
    require: where one is missing, the whole specimen fails to load. ``absent`` are companions
    that are left out, as what they take to load is out of proportion; the family goes on without them
    (a swallowed failure). ``slow`` marks a family that takes long to load even when hollow.
    """

    name: str
    small: Config
    dtype: str | Callable[[str], str] = "BF16"
    module: Callable[[Any], Any] = lambda model: model
    layout: Callable[[Tensors, Config], Files] = as_loaded
    side_files: Callable[[Path, Config], None] = no_side_files
    parts: Callable[[Path, Config], Files] = no_parts
    companions: tuple[Repository, ...] = ()
    needs: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    slow: bool = False

    @property
    def fails(self) -> Failure | None:
        """How a whole specimen fails to load where a package is missing that the family imports; else None."""
        for module in self.needs:
            if find_spec(module) is None:
                return Failure("ImportError", f"No module named '{module}'", module)
        return None


def merged(base: Config, overrides: Config) -> dict[str, Any]:
    """``base`` with ``overrides``, section by section; None in ``overrides`` is a value, ... removes the key."""
    result = dict(base)
    for key, value in overrides.items():
        if value is ...:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@dataclass(frozen=True)
class Specimen:
    """A model directory, and what is in it.

    ``files`` holds the tensors by weights file; ``hub`` is a private HF_HOME with the companion
    repositories as cached snapshots; ``environment`` is what a process needs to load it offline.
    """

    family: str
    size: str
    path: Path
    hub: Path
    config: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Tensor]]
    body: str
    fails: Failure | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that the loader reads: those of the files at the top of the directory."""
        return {name: tensor for file, part in self.files.items() if "/" not in file for name, tensor in part.items()}
