"""Keys that a config gives in another style than its classes take: ``hiddenSize`` for ``hidden_size``, or with hyphens.

One such key may be a slip; where several are, the whole file was written in that style, and one
after the other mends nothing. What a section holds is seen only once the section has its name, so
names are changed level by level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlx_diagnose.collectors.candidates import Candidate
from mlx_diagnose.collectors.config_edit import Edit, Path, pointer_path
from mlx_diagnose.collectors.config_names import is_housekeeping
from mlx_diagnose.collectors.config_sections import Section, sections_of
from mlx_diagnose.collectors.name_similarity import same_words
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory

#: So many names make a style; and levels of sections that are followed.
_LEAST, _MOST_LEVELS = 3, 6


def moves(document: Mapping[str, Any], config: Mapping[str, Any]) -> list[tuple[Path, Path]]:
    """The changes of names, a section before what it holds: each path as it is by then, and as it is to be.

    ``document`` as :func:`.config_sections.sections_of` takes it. Empty where hardly a name is of another style.
    """
    found: list[tuple[Path, Path]] = []
    changed: Mapping[str, Any] = config
    for _ in range(_MOST_LEVELS):
        fresh = [move for section in sections_of(document, changed) for move in _of_section(section)]
        if not fresh:
            break
        for path, to in fresh:
            changed = Edit("rename", path, to=to).apply(changed)
        found += fresh
    return found if len(found) >= _LEAST else []


def original(path: Path, found: list[tuple[Path, Path]]) -> Path:
    """``path`` as it was before the moves ``found``."""
    for before, after in reversed(found):
        if path[: len(after)] == after:
            path = (*before, *path[len(after) :])
    return path


def candidates(memory: WorkingMemory) -> Iterator[Candidate]:
    """All names in another style than the classes take, changed at once."""
    found = tuple(
        (pointer_path(str(fact["source"])), pointer_path(str(fact["target"]))) for fact in memory.of("restyled_key")
    )
    if found:
        (path, to), *_ = found
        yield Candidate(Edit("restyle", path, to=to, moves=found), 0, f"{len(found)} names in another style")


def _of_section(section: Section) -> Iterator[tuple[Path, Path]]:
    if not section.present:
        return
    taken = {key.name for key in section.known_keys} | section.children
    free = {name for name in taken if name not in section.values}
    parent: Path = tuple(section.path.split(".")) if section.path else ()
    for name in section.values:
        alike = [other for other in free if same_words(name, other)]
        if name not in taken and len(alike) == 1 and name == clean(name) and not is_housekeeping(name):
            free.discard(alike[0])
            yield (*parent, name), (*parent, alike[0])
