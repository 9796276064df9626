"""An adapter: how a model is mended while it is loaded, and of which models and releases that is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch
from mlx_diagnose.adapters.weight_calls import carried_out

MendConfig: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
MendWeights: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

#: Categories of mlx-audio that have a loader.
CATEGORIES = ("tts", "stt", "sts", "vad", "lid")


@dataclass(frozen=True)
class Adapter:
    """Data, and for adapters in Python functions besides.

    It is for the ``models`` (names of directories or repositories, ``*`` stands for any text) and
    ``families`` (model types) named, of ``category``, with releases of mlx-audio in the range
    ``mlx_audio`` (PEP 440). ``config_patch`` is RFC 6902, ``weight_map`` as
    :mod:`.weight_operations` has it, ``shims`` are names of loader shims, ``environment`` variables that
    are set before mlx-audio is imported, and stay set. ``mend_config`` and
    ``mend_weights`` are called after them, with the config and with the arrays by name.
    ``verified`` says what it was seen to load with, as versions by distribution.
    """

    name: str
    title: str = ""
    category: str = "tts"
    models: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    mlx_audio: str = ""
    config_patch: tuple[Mapping[str, Any], ...] = ()
    weight_map: tuple[Mapping[str, Any], ...] = ()
    shims: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mend_config: MendConfig | None = field(default=None, compare=False)
    mend_weights: MendWeights | None = field(default=None, compare=False)
    verified: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def is_for(self, model: str, model_type: str | None) -> bool:
        """Whether it is meant for a model of this name (id or directory) and type."""
        names = (model, model.rstrip("/").rsplit("/", 1)[-1])
        by_name = any(fnmatchcase(name.lower(), wanted.lower()) for wanted in self.models for name in names)
        by_family = model_type is not None and model_type in self.families
        if self.models and self.families:
            return by_name and by_family
        return by_name or by_family

    def supports(self, mlx_audio: str) -> bool:
        """Whether it is meant for this release of mlx-audio."""
        if not self.mlx_audio:
            return True
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(self.mlx_audio).contains(mlx_audio, prereleases=True)

    def mended_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """``config`` as it should be. Raises AdapterError where it is not the config that this is for."""
        try:
            mended = apply_patch(config, self.config_patch)
        except PatchError as error:
            raise AdapterError(f"{self.name} does not fit the config: {error}") from error
        return mended if self.mend_config is None else self.mend_config(mended)

    def mended_weights(self, weights: dict[str, Any]) -> dict[str, Any]:
        """``weights`` (arrays of MLX by name, lazy) as they should be. Raises AdapterError where they are others."""
        try:
            mended = carried_out(self.weight_map, weights)
        except (ValueError, KeyError) as error:
            raise AdapterError(f"{self.name} does not fit the weights: {error}") from error
        return mended if self.mend_weights is None else self.mend_weights(mended)

    @property
    def changes_weights(self) -> bool:
        return bool(self.weight_map) or self.mend_weights is not None


class AdapterError(ValueError):
    """An adapter that cannot be used; the message says which, and why."""
