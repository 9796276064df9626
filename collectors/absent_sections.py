"""Sections that config.json leaves out while the checkpoint was made with other values than their defaults.

One number of the section after another is given, unlike its default, and what moves in the
model is compared with what does not fit: a section whose numbers move those tensors is the one
that was left out. Which values it had is not told: shapes show widths, and never the number of heads.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.config_edit import Edit, Path
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.trials import Trials
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Numbers of one section that are changed; a trial takes from milliseconds to a second.
MAX_NUMBERS = 10
#: Share of what does not fit from which a section is the cause of it.
MOST = 0.5
#: Tensors moved, as a part of those that do not fit, from which no further number is asked.
_ENOUGH = 0.9

#: Shapes by name, as a load reports them.
_Table = Mapping[str, Any]


def collect(
    memory: WorkingMemory,
    config: Mapping[str, Any],
    run: LoadRun,
    trials: Trials,
    renamed: Collection[str] = frozenset(),
) -> None:
    """Assert section_influence for each absent section that moves tensors which do not fit.

    ``run`` is the load as it is; without tables of a load there is nothing to compare. ``renamed`` are
    tensors of the model that the checkpoint has in their shape under another name: no number moves them into place.
    """
    if run.tensors is None:
        return
    model, given = run.tensors["model"], run.tensors["sanitized"]
    misfits = {name for name, (_, shape) in model.items() if name not in given or given[name][1] != shape}
    if not misfits:
        return
    for section, numbers in _absent(memory, config).items():
        moved: set[str] = set()
        movers: list[str] = []
        for path, value in islice(numbers.items(), MAX_NUMBERS):
            now = _with(config, path, value, trials)
            found = (misfits & _moved(model, now)).difference(renamed) if now is not None else set()
            if found:
                movers.append(str(path[-1]))
            moved |= found
            if len(moved) >= _ENOUGH * len(misfits):
                break
        if moved:
            memory.add(
                "section_influence",
                Provenance("absent_sections", path=section),
                path=section,
                moved=len(moved),
                share=round(len(moved) / len(misfits), 4),
                numbers=", ".join(movers),
            )


def _absent(memory: WorkingMemory, config: Mapping[str, Any]) -> dict[str, dict[Path, int]]:
    """The outermost sections that a class takes and the config does not have: whole numbers that stand in, by path."""
    numbers: dict[str, dict[Path, int]] = {}
    elsewhere: set[str] = set()
    unused = list(memory.of("unknown_key"))
    if any(isinstance(value_at(config, str(fact["path"])), Mapping) for fact in unused):
        return {}  # that may be the section, under another name or at another place
    names = {str(fact["name"]) for fact in unused}
    for fact in memory.of("init_parameter"):
        section = _outermost_absent(config, str(fact["section"]))
        if section is None or fact["default"] is None:
            continue
        if fact["name"] in names:
            elsewhere.add(section)
        try:
            default = json.loads(str(fact["default"]))
        except ValueError:
            continue
        if type(default) is int and default > 0:
            numbers.setdefault(section, {})[tuple(str(fact["path"]).split("."))] = default
    return {section: found for section, found in numbers.items() if section not in elsewhere}


def _outermost_absent(config: Mapping[str, Any], section: str) -> str | None:
    """The part of the dotted path from which on nothing is there, or nothing in it; None where all of it is."""
    value: Any = config
    parts = section.split(".") if section else []
    for depth, part in enumerate(parts, 1):
        value = value.get(part)
        if not isinstance(value, Mapping) or not value:
            return ".".join(parts[:depth])
    return None


def _with(config: Mapping[str, Any], path: Path, value: int, trials: Trials) -> _Table | None:
    """The model with another number; None where no value tried builds one."""
    # Half of it first: layers are then gone, and heads still divide a width.
    for other in (*([value // 2] if value > 1 else []), value + 1, value * 2):
        outcome = trials.run(Edit("add", path, other).apply(config))
        if outcome is None:
            return None
        if outcome.run.tensors is not None:
            table: _Table = outcome.run.tensors["model"]
            return table
    return None


def _moved(before: _Table, after: _Table) -> set[str]:
    """Names that have another shape, or are gone."""
    return {name for name, (_, shape) in before.items() if name not in after or after[name][1] != shape}
