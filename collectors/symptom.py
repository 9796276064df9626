"""The way in which a load fails, comparable between loads: stage, exception, message, place, tensors.

What differs between two loads of the same failure is taken out of the message: the path of the
scratch copy, addresses. Numbers can be taken out too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Ending
from mlx_diagnose.engine.model import STAGES

#: What stands for the model's directory in a message.
MODEL = "<model>"
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+\b")
_NUMBER = re.compile(r"\d+")

#: A tensor that did not fit: its name, its shape in the model and in the checkpoint (None where it is not).
Misfit = tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]


@dataclass(frozen=True, slots=True)
class Symptom:
    """How a load ended that failed.

    ``place`` is file and line of the code that raised, ``root`` the exception behind it, where there is
    one, and ``caught`` those that were raised and caught on the way: what is raised in the end may be
    no more than that something is None. Of a load that ended its process (``ended``), ``type`` is the
    signal or how it ended.
    """

    stage: str
    type: str
    message: str
    place: tuple[str, int] | None = None
    misfits: frozenset[Misfit] = frozenset()
    root: str | None = None
    caught: frozenset[str] = frozenset()
    ended: bool = False

    def loosely(self) -> Symptom:
        """Without the numbers of its message."""
        root = None if self.root is None else _NUMBER.sub("#", self.root)
        caught = frozenset(_NUMBER.sub("#", text) for text in self.caught)
        return replace(self, message=_NUMBER.sub("#", self.message), root=root, caught=caught)


def symptom_of(run: LoadRun, directory: Path, ending: Ending | None = None) -> Symptom | None:
    """How ``run`` of the model in ``directory`` failed; None if it loads. ``ending``: the process ended with it."""
    if run.loads:
        return None
    stage = run.failed_stage or STAGES[0]
    if run.outcome is None:
        assert ending is not None
        where = (ending.file, ending.line) if ending.file is not None and ending.line is not None else None
        return Symptom(stage, ending.signal or ending.outcome, ending.outcome, where, ended=True)
    if run.value_read is not None:
        read = run.value_read
        return Symptom(stage, "ValueDependent", read["operation"], _place(read))
    raised = run.chain[0]
    place = _place(raised["frames"][-1]) if raised["frames"] else None
    root = _told(run.chain[-1], directory) if len(run.chain) > 1 else None
    caught = frozenset(_told(link, directory) for link in run.caught)
    message = normalised(raised["message"], directory)
    return Symptom(stage, raised["type"], message, place, _misfits(run), root, caught)


def _told(link: Mapping[str, Any], directory: Path) -> str:
    return f"{link['type']}: {normalised(link['message'], directory)}"


def normalised(message: str, directory: Path) -> str:
    """``message`` without what differs between two loads of the same failure."""
    # Wherever else a copy of that name lies: a script makes one among temporary files.
    for path in (re.escape(str(directory)), rf"[^\s'\"]*/{re.escape(directory.name)}"):
        message = re.sub(rf"{path}(?![\w-])", MODEL, message)
    return _ADDRESS.sub("0x", " ".join(message.split()))


def _place(frame: dict[str, object]) -> tuple[str, int] | None:
    file, line = frame.get("file"), frame.get("line")
    return (file, line) if isinstance(file, str) and isinstance(line, int) else None


def _misfits(run: LoadRun) -> frozenset[Misfit]:
    if run.tensors is None:
        return frozenset()
    model, given = run.tensors["model"], run.tensors["sanitized"]
    found: set[Misfit] = set()
    for name in {*model, *given}:
        wanted = tuple(model[name][1]) if name in model else None
        got = tuple(given[name][1]) if name in given else None
        if wanted != got:
            found.add((name, wanted, got))
    return frozenset(found)
