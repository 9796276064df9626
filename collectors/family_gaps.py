"""Which families of an installed mlx-audio cannot be imported or used here, and what they lack."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.collectors import dependencies
from mlx_diagnose.collectors.import_closure import Sources
from mlx_diagnose.collectors.probes import installed
from mlx_diagnose.collectors.surroundings import Surroundings
from mlx_diagnose.collectors.syntax import without_collection
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact, FamilyState, Provenance, Usable

_NAMED = 8


@dataclass(frozen=True, slots=True)
class _Gap:
    """A package that is absent, or a name that an installed one lacks; ``fact`` is the first that told it."""

    when: str
    package: str
    module: str
    name: str | None


def collect(
    memory: WorkingMemory, mlx_audio_dir: Path, around: Surroundings, categories: Iterable[str] = installed.CATEGORIES
) -> list[FamilyState]:
    """Assert import_need and absent_name of what every loader needs, and package_gap; how each family stands."""
    with without_collection():
        states, gaps = _read(memory, mlx_audio_dir, around, categories)
    for gap, (fact, families) in gaps.items():
        _assert_gap(memory, gap, fact, families)
    return states


def _read(
    memory: WorkingMemory, mlx_audio_dir: Path, around: Surroundings, categories: Iterable[str]
) -> tuple[list[FamilyState], dict[_Gap, tuple[Fact, list[str]]]]:
    """How the families stand, and each gap with the families that have it; asserts the needs of the loaders."""
    sources = Sources(mlx_audio_dir)
    states: list[FamilyState] = []
    gaps: dict[_Gap, tuple[Fact, list[str]]] = {}
    present = [category for category in categories if (mlx_audio_dir / category / "models").is_dir()]
    common = _of_every_loader(memory, sources, around, present)
    for category in present:
        for family in installed.families(str(mlx_audio_dir), category):
            if not os.path.isfile(mlx_audio_dir / category / "models" / family / "__init__.py"):
                continue
            own = WorkingMemory()
            dependencies.collect(own, dependencies.needs_of(sources, category, family).needs, around)
            found = _gaps(own)
            states.append(_state(category, family, found))
            for gap, fact in found:
                if gap not in common:
                    gaps.setdefault(gap, (fact, []))[1].append(f"{category}/{family}")
    return states, gaps


def _of_every_loader(
    memory: WorkingMemory, sources: Sources, around: Surroundings, categories: Sequence[str]
) -> set[_Gap]:
    """What the loaders of all these categories miss: with that, nothing loads. Asserts it, as needs of a loader."""
    common: set[_Gap] | None = None
    for category in categories:
        own = WorkingMemory()
        needs = dependencies.needs_of(sources, category, None).needs
        dependencies.collect(own, needs, around)
        found = {gap for gap, _ in _gaps(own)}
        common = found if common is None else common & found
        if category == categories[-1]:
            tops = {gap.module.split(".")[0] for gap in found - common}
            dependencies.collect(memory, [need for need in needs if need.top not in tops], around)
    return common or set()


def _gaps(memory: WorkingMemory) -> list[tuple[_Gap, Fact]]:
    found = [
        (_Gap(str(fact["when"]), str(fact["package"]), str(fact["top"]), None), fact)
        for fact in memory.of("import_need", present=False, guarded=False)
    ]
    found += [
        (_Gap(str(fact["when"]), str(fact["package"]), str(fact["module"]), str(fact["name"])), fact)
        for fact in memory.of("absent_name", guarded=False)
        if not fact["attribute"] or fact["when"] == "import"
    ]
    return [(gap, fact) for gap, fact in found if gap.when != "call"]


def _state(category: str, family: str, gaps: Sequence[tuple[_Gap, Fact]]) -> FamilyState:
    if not gaps:
        return FamilyState(category, family, "ok")
    state: Usable = "not-importable" if any(gap.when == "import" for gap, _ in gaps) else "limited"
    words = [gap.package if gap.name is None else f"{gap.module}.{gap.name}" for gap, _ in gaps]
    return FamilyState(category, family, state, tuple(dict.fromkeys(words)))


def _assert_gap(memory: WorkingMemory, gap: _Gap, fact: Fact, families: Sequence[str]) -> None:
    named = ", ".join(families[:_NAMED])
    more = len(families) - _NAMED
    memory.add(
        "package_gap",
        Provenance("family_gaps", fact.provenance.file, fact.provenance.line),
        package=gap.package,
        module=gap.module,
        name=gap.name,
        version=fact["version"],
        when=gap.when,
        families=f"{named} and {more} more" if more > 0 else named,
        count=len(families),
        extra=fact.fields.get("extra"),
        install=str(fact.fields.get("install") or gap.package),
    )
