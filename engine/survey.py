"""``diagnose env``: what can be said of an environment without a model.

The patient is started once to import MLX and the loader; everything else is read from files:
packages and their ranges, what every family of the installed mlx-audio imports, native
libraries, the folder of downloads. The same rules fire over these facts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_diagnose import __version__
from mlx_diagnose.adapters.installer import with_exact_commands
from mlx_diagnose.collectors.interpreter import Interpreter, choose
from mlx_diagnose.collectors.load import LoadRun, assert_facts
from mlx_diagnose.collectors.process import Ending
from mlx_diagnose.engine.diagnosis import fold
from mlx_diagnose.engine.examination import Ledger, Skipped
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact, FamilyState, Finding, Patient, Survey
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.patients import greeting, not_python, start

if TYPE_CHECKING:
    from mlx_diagnose.collectors.surroundings import Surroundings


def survey(options: Options, progress: Callable[[str], None] = lambda _: None) -> Survey:
    """Look at the environment of ``options.python``; with ``only_static`` nothing of it is started."""
    started = time.perf_counter()
    interpreter = choose(options.python)
    ledger, memory = Ledger(), WorkingMemory()
    progress("importing MLX and mlx-audio")
    run, ending = _run(options, interpreter)
    if ending is not None and ending.outcome == "not-python":
        raise not_python(interpreter, ending.detail or "")
    assert_facts(memory, run, ending or Ending("completed"), (), offline_by_us=False)
    work = _Collecting(options, memory, run)
    ledger.run("environment", work.environment)
    ledger.run("exceptions", work.exceptions)
    progress("reading what every family imports")
    ledger.run("family_gaps", work.families)
    ledger.run("native_libraries", work.native_libraries)
    ledger.run("storage", work.storage)
    findings, facts = _infer(options, memory, ledger, work.packages, interpreter.executable)
    hello = run.hello or {}
    return Survey(
        tool_version=__version__,
        patient=Patient(
            executable=interpreter.executable,
            chosen_because=interpreter.because,
            python=hello.get("python"),
            platform=f"{hello['system']} {hello['machine']}" if hello else None,
            packages=work.packages,
        ),
        families=work.states,
        findings=findings,
        facts=facts,
        collectors=ledger.outcomes,
        seconds=round(time.perf_counter() - started, 6),
    )


def _run(options: Options, interpreter: Interpreter) -> tuple[LoadRun, Ending | None]:
    """What the patient says of itself before a load, or what files say of it."""
    if options.only_static:
        from mlx_diagnose.collectors import static_patient

        hello = greeting(interpreter)
        return LoadRun(hello=hello, mlx_audio=static_patient.mlx_audio(hello, options.category, None, "")), None
    with start(options, interpreter, None) as process:
        run = LoadRun().take(process.messages())
        return run, process.ending


class _Collecting:
    """The collectors of a survey and what they need of each other."""

    def __init__(self, options: Options, memory: WorkingMemory, run: LoadRun) -> None:
        self._options = options
        self._memory = memory
        self._run = run
        self._around: Surroundings | None = None
        self.packages: dict[str, str] = {}
        self.states: list[FamilyState] = []

    def environment(self) -> None:
        """Interpreter, machine, back end, packages, requirements."""
        from mlx_diagnose.collectors import environment
        from mlx_diagnose.collectors.surroundings import Surroundings

        if self._run.hello is None:
            raise Skipped("the interpreter did not answer")
        self._around = Surroundings(self._run.hello, self._run.mlx_audio)
        self.packages = environment.collect(
            self._memory, hello=self._run.hello, backend=self._run.backend, around=self._around
        )

    def exceptions(self) -> None:
        """What the imports of MLX and of the loader raised."""
        if not self._run.chain:
            raise Skipped("none were raised")
        from mlx_diagnose.collectors import exceptions
        from mlx_diagnose.collectors.exception_docs import ExceptionDoc

        docs = [ExceptionDoc.from_json(link) for link in self._run.chain]
        exceptions.collect(self._memory, docs, exceptions.ExceptionContext(None, None, self.packages))

    def families(self) -> None:
        """What the families of every category import."""
        from mlx_diagnose.collectors import family_gaps, known_conflicts
        from mlx_diagnose.collectors.probes.installed import CATEGORIES

        directory = (self._run.mlx_audio or {}).get("directory")
        if self._around is None or directory is None:
            raise Skipped("mlx-audio was not found in the patient")
        wanted = (self._options.category,) if self._options.category else CATEGORIES
        self.states = family_gaps.collect(self._memory, Path(directory), self._around, wanted)
        known_conflicts.collect(self._memory, self._around)

    def native_libraries(self) -> None:
        """Libraries and programs that installed packages call."""
        from mlx_diagnose.collectors import native_libraries

        if self._around is None:
            raise Skipped("the interpreter did not answer")
        native_libraries.collect(self._memory, self._around.modules)

    def storage(self) -> None:
        """The folder of downloaded models."""
        from mlx_diagnose.collectors import storage

        storage.collect(self._memory)


def _infer(
    options: Options, memory: WorkingMemory, ledger: Ledger, packages: dict[str, str], executable: str
) -> tuple[list[Finding], Sequence[Fact]]:
    from mlx_diagnose.engine.inference import infer
    from mlx_diagnose.engine.rulebase import load_rules
    from mlx_diagnose.engine.rulebase.sources import default_sources

    with ledger.timed("rules"):
        rules = load_rules(default_sources(options.rule_dirs, options.plugins), with_cases=False)
    with ledger.timed("inference"):
        version = packages.get("mlx-audio")
        inference = infer(rules, memory, engine=options.engine, category=options.category, mlx_audio=version)
    findings = fold(inference.findings, (), facts=inference.facts)
    return with_exact_commands(findings, executable), list(inference.facts)
