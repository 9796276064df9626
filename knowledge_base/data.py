"""Readers of the data files of the knowledge base: typed, cached, read when first asked for.

The files say in their heads what their entries mean and where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlx_diagnose.engine.model import RuleError
from mlx_diagnose.knowledge_base import yaml_data

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution that provides an import module.

    ``install`` is what to give pip; ``extra`` the extra of mlx-audio that brings it; ``python``
    the range of Python versions that have a release, where that is limited.
    """

    name: str
    install: str
    extra: str | None = None
    python: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SupportedSince:
    """A family that a model type stands for, and the release that had it at the latest."""

    family: str
    release: str


@dataclass(frozen=True, slots=True)
class ReleaseDefect:
    """A known defect of a release, or a pair of releases that do not work together.

    ``broken`` is the affected range of ``package``; ``requires`` the ranges of other
    distributions under which it shows; empty ``families`` or ``systems`` mean all.
    ``failure_class`` is that of the failure it causes.
    """

    id: str
    package: str
    broken: str
    fixed_in: str | None
    seen: str
    what: str
    remedy: str
    source: str
    families: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    requires: Mapping[str, str] = field(default_factory=dict)
    failure_class: str | None = None


def distribution_of(module: str) -> Distribution:
    """The distribution that provides ``module`` (dotted), as well as it is known.

    A module that the file does not name comes from the distribution of its first part's name.

    >>> distribution_of("yaml.constructor").name
    'pyyaml'
    >>> distribution_of("soxr").install
    'soxr'
    """
    known = _distributions()
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        found = known.get(".".join(parts[:length]))
        if found is not None:
            return found
    return _installed(parts[0])


def families() -> Mapping[str, Mapping[str, str]]:
    """``{category: {family: release}}``: the first release looked at that has the family."""
    return _families()


def supported_since(model_type: str, category: str) -> SupportedSince | None:
    """The family that ``model_type`` stands for in ``category``, and the release that had it at the latest.

    None for a model type that no release looked at has in that category.
    """
    alias = _model_types().get(category, {}).get(model_type)
    if alias is not None:
        return alias
    release = _families().get(category, {}).get(model_type)
    return SupportedSince(model_type, release) if release is not None else None


def release_defects() -> tuple[ReleaseDefect, ...]:
    """Every known defect of a release, oldest first."""
    return _release_defects()


@cache
def _distributions() -> Mapping[str, Distribution]:
    names = _mapping("distributions.yaml")
    known = {module: _installed(name) for module, name in names.items()}
    return MappingProxyType(known)


def _installed(name: str) -> Distribution:
    entry = _installs().get(name, {})
    return Distribution(name, entry.get("install", name), entry.get("extra"), entry.get("python"), entry.get("note"))


@cache
def _installs() -> Mapping[str, Mapping[str, str]]:
    return MappingProxyType(_mapping("installs.yaml"))


@cache
def _families() -> Mapping[str, Mapping[str, str]]:
    document = _mapping("families.yaml")
    return MappingProxyType({category: MappingProxyType(dict(found)) for category, found in document.items()})


@cache
def _model_types() -> Mapping[str, Mapping[str, SupportedSince]]:
    return MappingProxyType(
        {
            category: MappingProxyType(
                {name: SupportedSince(entry["family"], entry["since"]) for name, entry in types.items()}
            )
            for category, types in _mapping("model_types.yaml").items()
        }
    )


@cache
def _release_defects() -> tuple[ReleaseDefect, ...]:
    path = _FOLDER / "releases.yaml"
    document = _read(path)
    if not isinstance(document, list):
        raise _invalid(path, "it must be a list of defects")
    try:
        return tuple(
            ReleaseDefect(
                **{
                    **{name: value for name, value in entry.items() if name != "with"},
                    "families": tuple(entry.get("families", ())),
                    "systems": tuple(entry.get("systems", ())),
                    "requires": MappingProxyType(dict(entry.get("with", {}))),
                }
            )
            for entry in document
        )
    except TypeError as error:
        raise _invalid(path, str(error)) from error


def _mapping(file: str) -> dict[str, Any]:
    document = _read(_FOLDER / file)
    if not isinstance(document, dict):
        raise _invalid(_FOLDER / file, "it must be a mapping")
    return document


def _read(path: Path) -> Any:
    import yaml  # 20 ms: only for those who ask for data

    try:
        return yaml_data.read(path)
    except (OSError, yaml.YAMLError) as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, why: str) -> RuleError:
    return RuleError(
        "invalid-knowledge-base",
        f"{path.name} of the knowledge base cannot be used",
        why=why,
        next_step="Install mlx-diagnose again; its files were changed or are incomplete.",
    )
