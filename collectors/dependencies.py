"""What a family imports against what is installed and declared, before anything fails.

Read from sources and metadata only: a package that nobody declares, one that is not there, a
name that the installed version does not have. What runs at import is told from what runs when a
function is called, since the latter bites only after the model has loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.collectors.family_imports import Import, imports_of
from mlx_diagnose.collectors.import_closure import OWN, Reached, Sources, of_family, of_loader
from mlx_diagnose.collectors.source_world import World
from mlx_diagnose.collectors.surroundings import Surroundings
from mlx_diagnose.collectors.syntax import without_collection
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.knowledge_base import data as knowledge_base

_NAME = "dependencies"


@dataclass(frozen=True, slots=True)
class Need:
    """An import of another package. ``when`` is import, use or call; see the vocabulary.

    ``attribute``: the name is taken from the module where it is used, not imported.
    """

    statement: Import
    when: str
    guarded: bool
    attribute: bool = False

    @property
    def top(self) -> str:
        return self.statement.module.split(".")[0]

    @property
    def rank(self) -> tuple[bool, int]:
        return self.guarded, ("import", "use", "call").index(self.when)


@dataclass(frozen=True, slots=True)
class FamilyNeeds:
    """What a family (None: the loader alone) imports from other packages.

    ``whole``: with all that comes with it; ``readable``: there were sources to read.
    """

    family: str | None
    needs: Sequence[Need]
    whole: bool
    readable: bool


def read_needs(mlx_audio_dir: Path, category: str, family: str | None, *, whole: bool = True) -> FamilyNeeds:
    """What loading ``family`` with the loader of ``category`` imports, by the sources of this mlx-audio.

    Without ``whole``, what the family's own files import.
    """
    with without_collection():
        return needs_of(Sources(mlx_audio_dir), category, family, whole=whole)


def needs_of(sources: Sources, category: str, family: str | None, *, whole: bool = True) -> FamilyNeeds:
    """As :func:`read_needs`, for several families of one mlx-audio."""
    if family is None:
        found = of_loader(sources, category) if whole else []
    else:
        found = of_family(sources, category, family, whole=whole)
    readable = sources.world.module(OWN) is not None or any(sources.world.modules.values())
    return FamilyNeeds(family, [_need(item) for item in found if _is_foreign(item.statement)], whole, readable)


def _need(item: Reached) -> Need:
    when = "import" if not item.later else "use" if item.in_use else "call"
    return Need(item.statement, when, item.guarded, item.attribute)


def _is_foreign(statement: Import) -> bool:
    return statement.module.split(".")[0] not in (OWN, *sys.stdlib_module_names)


def collect(memory: WorkingMemory, needs: Iterable[Need], around: Surroundings) -> None:
    """Assert import_need, one a package, and absent_name."""
    every = list(needs)
    every += [inner for need in every if not need.attribute for inner in _behind(need, around)]
    by_package: dict[str, list[Need]] = {}
    for need in (need for need in every if not need.attribute):
        by_package.setdefault(around.package_of(need.statement.module), []).append(need)
    for package, found in by_package.items():
        _assert_need(memory, package, min(found, key=lambda need: need.rank), around)
    for need in every:
        _assert_absent_name(memory, need, around)


def _behind(need: Need, around: Surroundings) -> list[Need]:
    """What a module that mlx-audio does not draw in imports in its turn; of declared ones pip takes care."""
    package = around.package_of(need.statement.module)
    if around.declared(package) not in ("nobody", "extra"):
        return []
    place = around.modules.find(need.statement.module)
    if place is None or place.file is None or place.file.suffix != ".py":
        return []
    base = place.file.parents[need.statement.module.count(".") + place.is_package]
    module = World([base], followed=(need.top,)).module(need.statement.module)
    if module is None:
        return []
    return [
        Need(inner, need.when, need.guarded or inner.guarded)
        for inner in imports_of(module)
        if inner.function is None and _is_foreign(inner) and inner.module and inner.module.split(".")[0] != need.top
    ]


def _assert_need(memory: WorkingMemory, package: str, need: Need, around: Surroundings) -> None:
    chain = around.chains.get(package)
    memory.add(
        "import_need",
        Provenance(_NAME, str(need.statement.importer.file), need.statement.line),
        package=package,
        module=need.statement.module,
        top=need.top,
        present=around.modules.find(need.top) is not None,
        version=around.version_of(package),
        when=need.when,
        guarded=need.guarded,
        function=need.statement.function,
        importer=need.statement.importer.name,
        importer_line=need.statement.line,
        declared=around.declared(package),
        extra=around.extras.get(package),
        chain=" > ".join(chain) if chain is not None else None,
        install=knowledge_base.distribution_of(need.statement.module).install,
    )


def _assert_absent_name(memory: WorkingMemory, need: Need, around: Surroundings) -> None:
    statement = need.statement
    if around.modules.find(need.top) is None:
        return
    module, name = _absent(statement.module, statement.name, around)
    if name is None:
        return
    package = around.package_of(statement.module)
    memory.add(
        "absent_name",
        Provenance(_NAME, str(statement.importer.file), statement.line),
        module=module,
        name=name,
        package=package,
        version=around.version_of(package),
        when=need.when,
        guarded=need.guarded,
        attribute=need.attribute,
        importer=statement.importer.name,
        importer_line=statement.line,
    )


def _absent(module: str, name: str | None, around: Surroundings) -> tuple[str, str | None]:
    """The first part of ``module`` (or ``name`` in it) that is certainly not there: (where, what); what may be None."""
    parts = module.split(".")
    for length in range(1, len(parts)):
        above = ".".join(parts[:length])
        if around.modules.find(f"{above}.{parts[length]}") is None:
            # A package may make its submodules as it runs.
            return above, parts[length] if around.names.has(above, parts[length]) is False else None
    if name in (None, "*"):
        return module, None
    assert name is not None
    return module, name if around.names.has(module, name) is False else None
