"""Changes single numbers of the config a little and watches which shapes of the model move, and how far.

What moves tells which key a size comes from, even where it is a sum or a multiple of it: the
value that makes the shape fit follows from the slope. One trial a key, milliseconds each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlx_diagnose.collectors.candidates import Candidate, numbers
from mlx_diagnose.collectors.config_edit import Edit, Path
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.trials import Trials
from mlx_diagnose.engine.memory import WorkingMemory

#: Tensors that are watched; those of one layer move like those of the next.
_MAX_WATCHED = 400

Shape = list[int]


def candidates(
    config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun, trials: Trials, only: Path | None = None
) -> Iterator[Candidate]:
    """Edits whose value follows from how the shapes moved, of the key ``only`` or of all; the caller tries them."""
    wrong = _wrong_shapes(run)
    if not wrong:
        return
    for path, value, default in numbers(config, memory):
        if only is not None and path != only:
            continue
        operation = "replace" if default is None else "add"
        for nudged in (value + 1, value * 2):
            try:
                changed = Edit(operation, path, nudged).apply(config)  # type: ignore[arg-type]
            except (KeyError, IndexError, TypeError):
                break
            outcome = trials.run(changed)
            if outcome is None:
                return
            if outcome.loads and outcome.run.tensors is None:
                # All fits: the little change happens to be the right one.
                yield Candidate(Edit(operation, path, nudged), 1, None, default)  # type: ignore[arg-type]
                break
            if outcome.run.tensors is None:
                # Not every value builds a model (heads must divide widths): try the other.
                continue
            found = _follow(wrong, outcome.run.tensors["model"], value, nudged)
            if found is not None:
                name, new = found
                evidence = f"{name} is {tuple(wrong[name][1])}, the model wants {tuple(wrong[name][0])}"
                yield Candidate(Edit(operation, path, new), 1, evidence, default)  # type: ignore[arg-type]
            break


def _wrong_shapes(run: LoadRun) -> dict[str, tuple[Shape, Shape]]:
    """Tensors whose shapes differ in numbers only: what the model wants, what the checkpoint has."""
    if run.tensors is None:
        return {}
    given = run.tensors["sanitized"]
    wrong = {}
    for name, (_, shape) in run.tensors["model"].items():
        other = given.get(name)
        if other is not None and len(other[1]) == len(shape) and other[1] != shape:
            wrong[name] = (shape, other[1])
            if len(wrong) == _MAX_WATCHED:
                break
    return wrong


def _follow(
    wrong: Mapping[str, tuple[Shape, Shape]], moved: Mapping[str, Any], value: int, nudged: int
) -> tuple[str, int] | None:
    """The tensor that moved with the number, and the value at which it would fit, taken as linear."""
    for name, (wanted, found) in wrong.items():
        now = moved.get(name)
        if now is None or len(now[1]) != len(wanted):
            continue
        for before, after, target in zip(wanted, now[1], found, strict=True):
            step = after - before
            if step == 0 or before == target:
                continue
            distance = (target - before) * (nudged - value)
            if distance % step == 0 and value + distance // step > 0:
                return name, value + distance // step
    return None
