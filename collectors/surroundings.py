"""The patient's installed packages as a whole: what is there, which names it has, who requires what."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.distributions import Installed, marker_environment
from mlx_diagnose.collectors.import_closure import OWN
from mlx_diagnose.collectors.installed_modules import InstalledModules
from mlx_diagnose.collectors.knowledge import canonical
from mlx_diagnose.collectors.module_names import ModuleNames
from mlx_diagnose.collectors.requirements import Requirements, extras
from mlx_diagnose.knowledge_base import data as knowledge_base

MLX_AUDIO = "mlx-audio"


class Surroundings:
    """The packages beside the mlx-audio that a patient imports; all of it is read when asked for."""

    def __init__(
        self, hello: Mapping[str, Any], mlx_audio: Mapping[str, Any] | None = None, category: str | None = None
    ) -> None:
        """``hello`` is the patient's greeting, ``mlx_audio`` the directory and version of what it imports,
        ``category`` that of the model.

        A checkout on PYTHONPATH stands in front of an installed mlx-audio, whose metadata is then
        forgotten; an editable installation lies elsewhere than its metadata, but is of the same version.
        """
        self._category = category
        self.path = [str(entry) for entry in hello.get("path") or ()]
        self.installed = Installed(self.path)
        self.requirements = Requirements(self.installed, marker_environment(hello))
        seen = mlx_audio or {}
        folder, version = seen.get("directory"), seen.get("version")
        metadata = self.installed.get(MLX_AUDIO)
        beside = metadata is not None and _same(metadata.location, Path(folder or os.devnull).parent)
        if metadata is not None and folder and not beside and version != metadata.version:
            self.installed.without(MLX_AUDIO)
        #: Version of the mlx-audio that is imported, None where it is not known.
        self.mlx_audio: str | None = None
        if folder:
            self.mlx_audio = str(version) if version else metadata.version if metadata is not None and beside else None

    @cached_property
    def modules(self) -> InstalledModules:
        return InstalledModules(self.path)

    @cached_property
    def names(self) -> ModuleNames:
        return ModuleNames(self.modules)

    @cached_property
    def chains(self) -> Mapping[str, tuple[str, ...]]:
        """The packages that mlx-audio draws in, each with the chain that leads to it."""
        own = self.installed.get(MLX_AUDIO)
        return self.requirements.chains(own) if own is not None else {}

    @cached_property
    def extras(self) -> Mapping[str, str]:
        """Packages that only an extra of mlx-audio draws in, with that extra, of the model's category if it can be."""
        own = self.installed.get(MLX_AUDIO)
        return extras(own, self._category) if own is not None else {}

    def package_of(self, module: str) -> str:
        """The distribution that brings ``module``, or would."""
        top = module.split(".")[0]
        expected = canonical(knowledge_base.distribution_of(module).name)
        if self.installed.get(expected) is not None or self.modules.find(top) is None:
            return expected
        provider = self.installed.provider_of(top)
        return provider.name if provider is not None else expected

    def version_of(self, package: str) -> str | None:
        """The installed version of a distribution."""
        found = self.installed.get(package)
        return found.version if found is not None else None

    def declared(self, package: str) -> str:
        """Who requires ``package``: required, chain, extra, nobody or unknown."""
        if self.installed.get(MLX_AUDIO) is None:
            return "unknown"
        chain = self.chains.get(package)
        if chain is not None:
            return "required" if len(chain) <= 2 else "chain"
        return "extra" if package in self.extras else "nobody"


def imported_directory(search_path: Sequence[str]) -> Path | None:
    """Where ``import mlx_audio`` finds its package, by the files on ``search_path``."""
    place = InstalledModules(search_path).find(OWN)
    return place.folder if place is not None else None


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
