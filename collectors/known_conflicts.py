"""Releases of two dependencies that are known not to work together, where both are here and are imported.

From the defects of releases that the knowledge base lists; nothing needs to have failed.
"""

from __future__ import annotations

from collections.abc import Collection

from mlx_diagnose.collectors.release_defects import in_range
from mlx_diagnose.collectors.surroundings import MLX_AUDIO, Surroundings
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.knowledge_base.data import release_defects

_HERE = Provenance("known_conflicts", file="knowledge_base/releases.yaml")
_CLASSES = ("dependency/removed-api", "dependency/version-conflict")


def collect(memory: WorkingMemory, around: Surroundings) -> None:
    """Assert known_conflict for what import_need facts say is imported at once."""
    imported = {str(fact["package"]) for fact in memory.of("import_need", when="import", present=True, guarded=False)}
    for defect in release_defects():
        # What is wrong with mlx-audio itself shows in its sources, or depends on the model.
        if defect.package == MLX_AUDIO or defect.failure_class not in _CLASSES or not defect.requires:
            continue
        ranges = {defect.package: defect.broken, **defect.requires}
        versions = {package: around.version_of(package) for package in ranges}
        if not all(version and in_range(version, ranges[package]) for package, version in versions.items()):
            continue
        if not all(package in _reached(imported & ranges.keys(), around) for package in ranges):
            continue
        others = ", ".join(f"{package} {versions[package]}" for package in defect.requires)
        memory.add(
            "known_conflict",
            _HERE,
            defect=defect.id,
            package=defect.package,
            version=str(versions[defect.package]),
            others=others,
            failure_class=defect.failure_class,
            what=clean(defect.what),
            remedy=clean(defect.remedy),
        )


def _reached(imported: Collection[str], around: Surroundings) -> set[str]:
    """``imported`` packages with what they require, and so import themselves."""
    reached = set(imported)
    for package in imported:
        owner = around.installed.get(package)
        reached |= {need.package for need in around.requirements.of(owner)} if owner is not None else set()
    return reached
