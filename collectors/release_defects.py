"""Known defects of releases that have the symptom of a failure, unless something known rules them out.

A symptom fits if the exception is of the type, and its message begins with the words, that
the knowledge base gives (figures may differ); for MLX's messages about tensors, if the
tensor it gives is among those named and, for a shape, differs in the same manner.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.traceback_tensors import TensorMessage, tensor_message
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.knowledge_base.data import ReleaseDefect, families, release_defects, supported_since

if TYPE_CHECKING:
    from packaging.version import Version

_HERE = Provenance("release_defects", file="knowledge_base/releases.yaml")
_FIGURES = re.compile(r"\d+")
#: Exceptions of the hub say nothing of a family.
_OF_NO_FAMILY = frozenset({"LocalEntryNotFoundError", "OfflineModeIsEnabled"})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known beside the exceptions; ``at_least`` and ``below`` bound mlx-audio if its version is not known."""

    packages: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None
    category: str | None = None
    family: str | None = None
    model_type: str | None = None
    at_least: str | None = None
    below: str | None = None


def collect(
    memory: WorkingMemory,
    chain: Sequence[ExceptionDoc],
    circumstances: Circumstances,
    complaints: Sequence[str] = (),
) -> None:
    """Assert release_defect. ``complaints`` are lines of installers."""
    for defect in release_defects():
        doc = next((doc for doc in chain if _has_symptom(defect.seen, doc)), None)
        if doc is None and not any(_alike(defect.seen, line) for line in complaints):
            continue
        versions = possible_versions(defect.package, circumstances)
        inside = [version for version in versions if in_range(version, defect.broken)]
        family = _family(defect, circumstances, doc)
        if (versions and not inside) or family is None or not _possible_here(defect, circumstances):
            continue
        memory.add(
            "release_defect",
            _HERE,
            defect=defect.id,
            package=defect.package,
            broken=defect.broken,
            fixed_in=defect.fixed_in,
            version=circumstances.packages.get(defect.package),
            version_known=bool(versions) and len(inside) == len(versions),
            family=", ".join(defect.families) or None,
            family_known=family,
            failure_class=defect.failure_class,
            what=clean(defect.what),
            remedy=clean(defect.remedy),
            source=clean(defect.source),
            stage=doc.stage if doc is not None else "unknown",
        )


def possible_versions(package: str, circumstances: Circumstances) -> Sequence[str]:
    """The installed version; for mlx-audio, else the releases that its bounds leave; empty where all are possible."""
    exact = circumstances.packages.get(package)
    if exact is not None:
        return (exact,)
    if package != "mlx-audio" or not (circumstances.at_least or circumstances.below):
        return ()
    return [
        release
        for release in _releases()
        if not (circumstances.at_least and _version(release) < _version(circumstances.at_least))
        and not (circumstances.below and _version(release) >= _version(circumstances.below))
    ]


def _has_symptom(seen: str, doc: ExceptionDoc) -> bool:
    kind, _, words = seen.partition(": ")
    if kind.strip() != doc.type:
        return False
    ours, theirs = tensor_message(words), tensor_message(doc.message)
    if ours is not None and theirs is not None:
        return _same_tensors(ours, theirs)
    return _alike(words, doc.message)


def _alike(words: str, text: str) -> bool:
    return _figureless(text[:2000]).startswith(_figureless(words))


def _figureless(text: str) -> str:
    return _FIGURES.sub("0", " ".join(text.split()))


def _same_tensors(ours: TensorMessage, theirs: TensorMessage) -> bool:
    if ours.status != theirs.status or not ours.names:
        return False
    if (ours.permutation, ours.bits is None, ours.bits and ours.bits[0] is None) != (
        theirs.permutation,
        theirs.bits is None,
        theirs.bits and theirs.bits[0] is None,
    ):
        return False
    return _figureless(ours.names[0]) in {_figureless(name) for name in theirs.names}


def _family(defect: ReleaseDefect, circumstances: Circumstances, doc: ExceptionDoc | None) -> bool | None:
    """Whether the model is known to be of a family of ``defect``; None if it is known not to be, or cannot be."""
    if not defect.families:
        return True
    family = circumstances.family
    if family is None and circumstances.model_type is not None:
        since = supported_since(circumstances.model_type, circumstances.category or "tts")
        family = since.family if since is not None else circumstances.model_type
    if family is not None:
        return True if family in defect.families else None
    return None if doc is not None and doc.type in _OF_NO_FAMILY else False


def _possible_here(defect: ReleaseDefect, circumstances: Circumstances) -> bool:
    if defect.systems and circumstances.system is not None and circumstances.system not in defect.systems:
        return False
    return all(
        circumstances.packages.get(name) is None or in_range(circumstances.packages[name], specifier)
        for name, specifier in defect.requires.items()
    )


def in_range(version: str, specifier: str) -> bool:
    """Whether ``version`` is in the range; False where either is none."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False


def _version(release: str) -> Version:
    from packaging.version import Version

    return Version(release)


@lru_cache(maxsize=1)
def _releases() -> Collection[str]:
    """Releases of mlx-audio that the knowledge base speaks of; it does not change while it is used."""
    named = {release for found in families().values() for release in found.values()}
    for defect in release_defects():
        if defect.package == "mlx-audio":
            named.update(re.findall(r"\d+(?:\.\d+)+", f"{defect.broken} {defect.fixed_in or ''}"))
    return sorted(named, key=_version)
