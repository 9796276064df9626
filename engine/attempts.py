"""Loads changed copies of a model one after the other, whatever becomes of the process that does it."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from mlx_diagnose.collectors.interpreter import Interpreter
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import PatientProcess
from mlx_diagnose.collectors.symptom import Symptom, symptom_of
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.patients import start


class Attempts:
    """A patient, and how the loads of changed copies end in it; a copy that ends the process costs a new one.

    ``run`` is the load of the model as it is. ``until`` is a time of :func:`time.monotonic`: later
    attempts are not made. ``count`` says how many were.
    """

    def __init__(self, options: Options, interpreter: Interpreter, located: Located, until: float) -> None:
        assert located.directory is not None
        self.options, self.located = options, located
        self._interpreter = interpreter
        self.until = until
        self._stack = ExitStack()
        self._known: dict[str, Symptom | None] = {}
        self.count = 0
        self.overlays = self._stack.enter_context(Overlays(located.directory, located.name))
        self.process = self._stack.enter_context(start(options, interpreter, located))
        self.run = LoadRun().take(self.process.messages())
        self.symptom = symptom_of(self.run, located.directory, self.process.ending)

    def __enter__(self) -> Attempts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the patient and remove the copies."""
        self._stack.close()

    @property
    def exhausted(self) -> bool:
        """The time is up."""
        return time.monotonic() > self.until

    def config(self, config: Mapping[str, Any], only: Collection[str] | None = None) -> Symptom | None:
        """How a copy with ``config`` loads; None if it does. ``only`` these other files are with it, or all.

        Raises TimeoutError when there is no time left.
        """
        return self.contents({"config.json": json.dumps(config, indent=2).encode()}, only)

    def contents(self, contents: Mapping[str, bytes], only: Collection[str] | None = None) -> Symptom | None:
        """The same for a copy in which files have other ``contents``."""
        key = repr((sorted(contents.items()), None if only is None else sorted(only)))
        if key not in self._known:
            if self.exhausted:
                raise TimeoutError
            self.count += 1
            self._known[key] = self._load(self.overlays.with_contents(contents, only))
        return self._known[key]

    def _load(self, directory: Path) -> Symptom | None:
        if self.process.ending is None:
            run = self.run.successor().take(self.process.request(load=str(directory)))
            return symptom_of(run, directory, self.process.ending)
        self.process.close()
        self.process = self._stack.enter_context(self._fresh(directory))
        return symptom_of(LoadRun().take(self.process.messages()), directory, self.process.ending)

    def _fresh(self, directory: Path) -> PatientProcess:
        return start(self.options, self._interpreter, replace(self.located, load=str(directory), directory=directory))

    def script(self, path: Path) -> Symptom | None:
        """How the load that the script at ``path`` makes ends, in a fresh process."""
        assert self.located.directory is not None
        with self._fresh(self.located.directory) as process:
            first = LoadRun().take(process.messages())
            run = first.successor().take(process.request(probe="script", script=str(path)))
            seen = symptom_of(run, self.located.directory, process.ending)
        if seen is not None and self.symptom is not None and first.loader is None:
            # Without a loader there are no stages: where its import failed is told by the place alone.
            return replace(seen, stage=self.symptom.stage)
        return seen
