"""Builds models of configs in the live probe session: what ``Model(config)`` makes, without the weights.

The patient's own loader runs as far as the model and stops (``probes/build.py``). Arrays are lazy,
so a model of any size is built in milliseconds; evaluated, it takes the memory it says it takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Message, PatientProcess


@dataclass(frozen=True, slots=True)
class Build:
    """How a build went. ``tensors`` and ``bytes`` of the parameters; ``evaluated`` None where that was not tried.

    Of a failure: ``stage``, and the exceptions as the probe describes them.
    """

    built: bool
    tensors: int = 0
    bytes: int = 0
    evaluated: bool | None = None
    seconds: float | None = None
    stage: str | None = None
    chain: tuple[Message, ...] = field(default=(), repr=False)
    run: LoadRun | None = field(default=None, compare=False, repr=False)

    @property
    def type(self) -> str | None:
        """Class name of the exception that ended it."""
        return str(self.chain[0]["type"]) if self.chain else None

    @property
    def message(self) -> str | None:
        """What that exception says."""
        return str(self.chain[0]["message"]) if self.chain else None


class Builds:
    """Builds until a deadline (of :func:`time.monotonic`). ``count`` says how many were made."""

    def __init__(self, process: PatientProcess, overlays: Overlays, first: LoadRun, until: float) -> None:
        self.process = process
        self.overlays = overlays
        self.first = first
        self.until = until
        self.count = 0

    @property
    def exhausted(self) -> bool:
        """No time left, or nobody there to build."""
        return time.monotonic() > self.until or self.process.ending is not None

    def build(self, config: Mapping[str, Any], *, evaluate: int | None = None) -> Build | None:
        """Build ``config``; ``evaluate`` a model of at most so many bytes. None when the time is up."""
        if self.exhausted:
            return None
        self.count += 1
        directory = self.overlays.with_config(config)
        messages = list(self.process.request(probe="build", load=str(directory), evaluate=evaluate))
        told = next((message for message in messages if message["m"] == "build"), None)
        if told is None:
            return None
        run = self.first.successor().take(messages)
        if not told["built"]:
            return Build(False, stage=run.failed_stage, chain=tuple(run.chain), run=run)
        return Build(
            True,
            told["tensors"],
            told["bytes"],
            told["evaluated"],
            told["seconds"],
            "construct" if told["chain"] else None,
            tuple(told["chain"]),
            run,
        )
