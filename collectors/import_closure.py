"""Everything that is imported with a family, and what its own functions import later.

Followed from the loader and the family through the modules of mlx-audio, as Python would: a
module brings the packages above it, ``from package import module`` the module. Imports inside
functions are followed from the family's own files only: in shared modules they serve other
families, converters and servers as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlx_diagnose.collectors.attribute_uses import attribute_uses
from mlx_diagnose.collectors.family_calls import functions_in_use, named_in_strings
from mlx_diagnose.collectors.family_imports import Import, imports_of
from mlx_diagnose.collectors.source_world import Module, World

OWN = "mlx_audio"
#: More modules than any release has.
_MAX_MODULES = 2000


@dataclass(frozen=True, slots=True)
class Reached:
    """An import of another package.

    ``later``: not when the family is imported, but when a function of it is called; ``in_use``:
    loading a model or generating with it may call that function; ``attribute``: the name is taken
    from an imported module where it is used.
    """

    statement: Import
    later: bool
    guarded: bool
    in_use: bool = True
    attribute: bool = False


class Sources:
    """The modules of one mlx-audio, parsed once, with their imports."""

    def __init__(self, mlx_audio_dir: Path) -> None:
        self.world = World([mlx_audio_dir.parent], followed=(OWN,), limit=_MAX_MODULES)
        self._imports: dict[str, list[Import]] = {}
        self._uses: dict[tuple[str, bool], list[Import]] = {}

    def imports(self, module: Module) -> list[Import]:
        """The imports that stand in ``module``."""
        found = self._imports.get(module.name)
        if found is None:
            found = self._imports[module.name] = list(imports_of(module))
        return found

    def attributes(self, module: Module, inside_functions: bool) -> list[Import]:
        """The names that ``module`` takes from imported modules by attribute."""
        key = (module.name, inside_functions)
        if key not in self._uses:
            try:
                uses = list(attribute_uses(module, self.imports(module), inside_functions=inside_functions))
            except RecursionError:  # expressions that Python parses, and nobody writes by hand
                uses = []
            self._uses[key] = [use for use in uses if not _is_own(use)]
        return self._uses[key]

    def targets(self, statement: Import, within: str = OWN) -> Iterator[Module]:
        """The modules of the package ``within`` that ``statement`` brings, packages above them first."""
        names = [statement.module]
        if _within(statement.module, within):
            origin = self.world.module(statement.module)
            if origin is not None and origin.is_package and statement.name not in (None, "*", *origin.names):
                names.append(f"{statement.module}.{statement.name}")
        for name in names:
            yield from self.above(name, within)

    def above(self, name: str, within: str = OWN) -> Iterator[Module]:
        """The packages above a module, from ``within`` on, and itself."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            above = ".".join(parts[:length])
            module = self.world.module(above) if _within(above, within) else None
            if module is not None:
                yield module


def of_family(sources: Sources, category: str, family: str, *, whole: bool = True) -> list[Reached]:
    """The imports of other packages that loading and using ``family`` needs, each once, the most needed first.

    Without ``whole``, those of the family's own files alone: a tenth of the work, and enough where
    its import is known to pass.
    """
    root = f"{OWN}.{category}.models.{family}"
    at_import = _closure(sources, [f"{OWN}.{category}.utils", root]) if whole else _closure(sources, [root], root)
    found = list(_foreign(sources, at_import, later=False))
    own = [m for name in at_import if _within(name, root) and (m := sources.world.module(name)) is not None]
    in_use = functions_in_use(own)
    if whole:
        found += _attributes(sources, at_import, own, in_use)
    inside = list(_inside_functions(sources, own))
    for statement in inside:
        used = statement.function in in_use
        if _is_own(statement):
            if not whole:
                continue
            brought = {module.name for module in sources.targets(statement)} - at_import.keys()
            for item in _foreign(sources, _closure(sources, sorted(brought)), later=True):
                found.append(replace(item, guarded=item.guarded or statement.guarded, in_use=used))
        else:
            found.append(Reached(statement, True, statement.guarded, used))
    return _unique(found)


def of_loader(sources: Sources, category: str) -> list[Reached]:
    """The imports of other packages that the loader of ``category`` itself needs."""
    return _unique(_foreign(sources, _closure(sources, [f"{OWN}.{category}.utils"]), later=False))


def _closure(sources: Sources, roots: Iterable[str], within: str = OWN) -> dict[str, bool]:
    """Modules of the package ``within`` that are imported with ``roots``; whether only so that a failure is caught."""
    reached: dict[str, bool] = {}
    queue = [(module, False) for root in roots for module in sources.above(root, within)]
    while queue:
        module, guarded = queue.pop()
        if reached.get(module.name, True) is False or (module.name in reached and guarded):
            continue
        reached[module.name] = guarded
        for statement in sources.imports(module):
            if statement.function is None and _is_own(statement):
                targets = sources.targets(statement, within)
                queue += [(target, guarded or statement.guarded) for target in targets]
    return reached


def _foreign(sources: Sources, modules: dict[str, bool], *, later: bool) -> Iterator[Reached]:
    for name, guarded in modules.items():
        module = sources.world.module(name)
        for statement in sources.imports(module) if module is not None else ():
            if statement.function is None and not _is_own(statement) and statement.module:
                yield Reached(statement, later, guarded or statement.guarded)


def _attributes(
    sources: Sources, modules: dict[str, bool], own: Sequence[Module], in_use: Collection[str]
) -> Iterator[Reached]:
    """Names taken by attribute at import, and in the functions (``in_use`` or not) of the family's ``own`` files."""
    for name, guarded in modules.items():
        module = sources.world.module(name)
        if module is None:
            continue
        for use in sources.attributes(module, module in own):
            later = use.function is not None
            yield Reached(use, later, guarded or use.guarded, not later or use.function in in_use, attribute=True)


def _inside_functions(sources: Sources, own: Iterable[Module]) -> Iterator[Import]:
    for module in own:
        yield from (s for s in sources.imports(module) if s.function is not None and s.module)
        if any(statement.module == "importlib" for statement in sources.imports(module)):
            yield from named_in_strings(module)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _is_own(statement: Import) -> bool:
    return statement.module.split(".")[0] == OWN


def _unique(found: Iterable[Reached]) -> list[Reached]:
    """One a module and name: that at import before that in a function, unguarded before guarded."""
    best: dict[tuple[str, str | None, bool], Reached] = {}
    for item in found:
        key = (item.statement.module, item.statement.name, item.attribute)
        known = best.get(key)
        if known is None or _rank(item) < _rank(known):
            best[key] = item
    return sorted(best.values(), key=_rank)


def _rank(item: Reached) -> tuple[bool, bool, bool]:
    return item.later, item.guarded, not item.in_use
