"""Everything that can be learnt of one load: the collectors, in the order in which they need each other.

A diagnosis is one or more examinations: the load as it is, and, where a change mended what
failed first, the load with that change, so that a fault hidden behind another is seen as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import CollectorOutcome

Result = TypeVar("Result")


class Ledger:
    """How each collector ended. A collector that fails is a gap in the facts, not the end of the run."""

    def __init__(self) -> None:
        self.outcomes: list[CollectorOutcome] = []

    def run(self, name: str, work: Callable[[], Result], default: Result) -> Result:
        """``work()``, timed; ``default`` if it raises, with the reason recorded."""
        started = time.perf_counter()
        try:
            result = work()
        except Exception as error:
            self._add(name, "failed", f"{type(error).__name__}: {error}", started)
            return default
        self._add(name, "ok", None, started)
        return result

    def skip(self, name: str, reason: str) -> None:
        """Record that a collector had nothing to look at."""
        self.outcomes.append(CollectorOutcome(name, "skipped", reason, 0.0))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record a step whose failure ends the run anyway."""
        started = time.perf_counter()
        yield
        self._add(name, "ok", None, started)

    def _add(self, name: str, status: str, reason: str | None, started: float) -> None:
        self.outcomes.append(CollectorOutcome(name, status, reason, round(time.perf_counter() - started, 6)))  # type: ignore[arg-type]


@dataclass
class Examination:
    """Facts of one load of one directory. ``directory`` is the original or a changed scratch copy."""

    located: Located
    directory: Path | None
    memory: WorkingMemory
    ledger: Ledger
    config: Mapping[str, Any] | None = None
    document: Any = None
    packages: dict[str, str] = field(default_factory=dict)

    # -- what can be seen without running anything ----------------------------------------------

    def look_at_files(self) -> None:
        """config.json and the weights files."""
        from mlx_diagnose.collectors import checkpoint, config

        self.document = self.ledger.run("config", lambda: config.collect(self.memory, self.directory), None)
        self.config = self.document.data if self.document is not None else None
        if self.directory is None:
            self.ledger.skip("checkpoint", "there is no directory to look at")
            self.checkpoint = None
            return
        directory = self.directory
        self.checkpoint = self.ledger.run("checkpoint", lambda: checkpoint.collect(self.memory, directory), None)

    # -- what the run told ---------------------------------------------------------------------

    def look_at_run(self, run: LoadRun) -> None:
        """Everything that explains how ``run`` ended."""
        self._environment(run)
        self._resolution(run)
        self._signature(run)
        self._exceptions(run)
        self._tensors(run)

    def _environment(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import environment

        if run.hello is None:
            self.ledger.skip("environment", "the interpreter did not answer")
            return
        hello = run.hello
        self.packages = self.ledger.run(
            "environment",
            lambda: environment.collect(
                self.memory, hello=hello, backend=run.backend, mlx_audio=run.mlx_audio, directory=self.directory
            ),
            {},
        )

    def _resolution(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import resolution

        found = (run.mlx_audio or {}).get("directory")
        if found is None:
            self.ledger.skip("resolution", "mlx-audio is not installed in the patient")
            return
        mlx_audio_dir = Path(found)
        observed = {**(run.loader or {}), **(run.resolution or {})}
        self.ledger.run(
            "resolution",
            lambda: resolution.collect(
                self.memory,
                mlx_audio_dir=mlx_audio_dir,
                category=self.category(run),
                directory_name=self.located.name,
                config=self.config,
                observed=observed,
                mlx_audio_version=(run.mlx_audio or {}).get("version"),
                failed_stage=run.failed_stage,
            ),
            None,
        )

    def _signature(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import config_difference

        if run.signature is None or self.document is None or self.config is None:
            self.ledger.skip("config_difference", "the load passed, or the family's classes were not reached")
            return
        signature = run.signature
        self.ledger.run("config_difference", lambda: config_difference.collect(self.memory, self.document, signature), None)

    def _exceptions(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import exceptions
        from mlx_diagnose.collectors.exception_docs import ExceptionDoc

        docs = [ExceptionDoc.from_json(link) for link in (*run.chain, *run.caught)]
        if not docs:
            self.ledger.skip("exceptions", "none were raised")
            return
        context = exceptions.ExceptionContext(self.directory, self.config, self.packages)
        self.ledger.run("exceptions", lambda: exceptions.collect(self.memory, docs, context), None)

    def _tensors(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import quantization, weights_difference
        from mlx_diagnose.collectors.tensors import table_from_json

        stored = self.checkpoint.table if self.checkpoint is not None else {}
        met = run.tensors
        model = table_from_json(met["model"]) if met is not None else None
        sanitized = table_from_json(met["sanitized"]) if met is not None else None
        if met is None:
            self.ledger.skip("weights_difference", "the load did not compare tensors, or all of them fit")
        else:
            strict, raised = bool(met["strict"]), bool(met["raised"])
            self.ledger.run(
                "weights_difference",
                lambda: weights_difference.collect(
                    self.memory, stored=stored, sanitized=sanitized, model=model, strict=strict, raised=raised
                ),
                None,
            )
        if run.loads and met is None:
            self.ledger.skip("quantization", "the load passed")
            return
        self.ledger.run(
            "quantization",
            lambda: quantization.collect(self.memory, stored=stored, config=self.config, sanitized=sanitized, model=model),
            None,
        )

    def category(self, run: LoadRun) -> str:
        """The category whose loader was run."""
        return str((run.mlx_audio or {}).get("category") or "tts")

    @property
    def family(self) -> str | None:
        """The family that the loader resolved to, once that is known."""
        fact = self.memory.one("resolution")
        return str(fact["resolved"]) if fact is not None and fact["family_exists"] else None
