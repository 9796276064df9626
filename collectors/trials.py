"""Tries changed configs on the patient's own loader, in the live probe session.

A trial is a scratch copy of the model directory, loaded by the unmodified loader. Imports are
done, weights are lazy: one costs milliseconds, so a fix can be tried before it is recommended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import PatientProcess
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.engine.model import STAGES, stage_index

#: Weights files as they would be, by file name: of the tensors only names, types and shapes.
#: One and the same object stands for the same weights.
Weights: TypeAlias = Mapping[str, TensorTable]
#: A loader shim: its name, and its source for the patient.
Shim: TypeAlias = tuple[str, str]


#: Part of the mismatches that a change may leave and still count as one of several causes.
PARTIAL_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a load came: the stage that ended it (None when it loads) and the tensors that did not fit.

    ``rewritten``: the changed weights were really written, values included, and not only described.
    """

    stage: str | None
    mismatches: int
    run: LoadRun = field(compare=False, repr=False)
    directory: Path | None = field(default=None, compare=False)
    rewritten: bool = field(default=False, compare=False)

    @property
    def loads(self) -> bool:
        return self.stage is None

    def rank(self) -> tuple[int, int, int]:
        """Larger is better: later stages first, then fewer mismatches; of loads, the one that took more tensors.

        Mismatches count only where the model was compared: at the load stage, and in a load that
        is not strict. A sanitize that drops what the model has no place for lets a model load
        that is too small.
        """
        if self.stage is None:
            return len(STAGES), -self.mismatches, self.run.given
        return stage_index(self.stage), -self.mismatches, 0

    def better(self, base: Outcome) -> bool:
        """Whether a change mends something: a later stage, or at the same one far fewer tensors that do not fit.

        A change that makes a few of many fit is a coincidence more often than a cause: a switch adds
        the one tensor that is unexpected anyway.
        """
        if self.stage == base.stage:
            return self.mismatches <= base.mismatches * PARTIAL_SHARE and self.mismatches < base.mismatches
        return self.rank() > base.rank()

    def mends(self, base: Outcome) -> bool:
        """It loads, and ``base`` did not, or did as loads do that are not strict: with tensors that do not fit."""
        return self.loads and (not base.loads or self.better(base))

    def settles(self, base: Outcome) -> bool:
        """It mends, and nothing speaks for a better change.

        Where ``base`` failed before it compared anything, a load that is not strict goes on with
        whatever was built, so what loads with tensors that do not fit may be the wrong change.
        """
        return self.mends(base) and (base.loads or not self.mismatches)


def outcome_of(run: LoadRun, directory: Path | None) -> Outcome:
    """The outcome of a run that has ended; a run that was cut off counts as failed where it was."""
    stage = None if run.loads else run.failed_stage or STAGES[0]
    return Outcome(stage, run.mismatches, run, directory)


class Trials:
    """Runs trials until a deadline (of :func:`time.monotonic`); the same config is tried once.

    ``first`` is the run that the session began with; ``ghost``: of the weights only shapes are
    known. ``count`` says how many were made. After the process has ended nothing is tried any more.
    """

    def __init__(
        self, process: PatientProcess, overlays: Overlays, until: float, first: LoadRun, *, ghost: bool = False
    ) -> None:
        self._process = process
        self.overlays = overlays
        self._until = until
        self._first = first
        #: Of the weights only shapes are known.
        self.ghost = ghost
        self._known: dict[tuple[object, ...], Outcome] = {}
        #: Weights of every trial that is given none of its own: what was mended so far.
        self.standing: Weights | None = None
        #: Files that every copy has besides, and where they lie.
        self.copies: Mapping[str, str] = {}
        #: Loader shims, name and source, that every trial is made with.
        self.shims: tuple[Shim, ...] = ()
        self.count = 0

    def allow(self, seconds: float) -> None:
        """Go on for so long at least."""
        self._until = max(self._until, time.monotonic() + seconds)

    @property
    def exhausted(self) -> bool:
        """No time left, or nobody there to try it."""
        return time.monotonic() > self._until or self._process.ending is not None

    def run(
        self,
        config: Mapping[str, Any],
        weights: Weights | None = None,
        shims: tuple[Shim, ...] = (),
        copies: Mapping[str, str] | None = None,
    ) -> Outcome | None:
        """Load a copy with ``config`` and other ``weights``, those that stand if none are given, and ``shims``.

        ``copies`` are files that the copy has besides, and where they lie.
        None when the budget is spent or the process ended meanwhile.
        """
        weights = self.standing if weights is None else weights
        shims = (*self.shims, *(shim for shim in shims if shim not in self.shims))
        copies = {**self.copies, **(copies or {})}
        key = (json.dumps(config, sort_keys=True), id(weights) if weights else 0, shims, tuple(sorted(copies.items())))
        known = self._known.get(key)
        if known is not None:
            return known
        if self.exhausted:
            return None
        directory = self.overlays.with_config(config, weights, copies)
        outcome = self.load(directory, shims, ghost=bool(weights))
        if outcome is not None:
            self._known[key] = outcome
        return outcome

    def own_values(self, directory: Path, names: Sequence[str]) -> dict[str, Any]:
        """Of parameters ``names``, for want of which the load of ``directory`` fails, what every new model has there.

        By name, as ``probes/buffers.py`` tells it; only what is the same in two builds.
        """
        if self.exhausted:
            return {}
        request = self._process.request(
            probe="buffers", load=str(directory), names=list(names), ghost=self.ghost, shims=self.shims, brief=True
        )
        told = next((message for message in list(request) if message["m"] == "buffers"), None)
        return dict(told["buffers"]) if told is not None else {}

    def load(self, directory: Path, shims: tuple[Shim, ...], *, ghost: bool) -> Outcome | None:
        """Load ``directory`` once with ``shims`` alone, in any case; None where that did not end."""
        self.count += 1
        ghost = self.ghost or ghost
        run = self._first.successor().take(self._process.request(load=str(directory), ghost=ghost, shims=shims))
        return outcome_of(run, directory) if run.outcome is not None else None
