"""Everything that can be learnt of one load: the collectors, in the order in which they need each other.

A diagnosis is one or more examinations: the load as it is, and, where a change mended what
failed first, the load with that change, so that a fault hidden behind another is seen as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Message
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import CollectorOutcome, CollectorStatus

if TYPE_CHECKING:
    from mlx_diagnose.collectors.checkpoint import Checkpoint
    from mlx_diagnose.collectors.config import ConfigDocument
    from mlx_diagnose.collectors.dependencies import FamilyNeeds
    from mlx_diagnose.collectors.exception_docs import ExceptionDoc
    from mlx_diagnose.collectors.hub_folder import RepositoryFolder
    from mlx_diagnose.collectors.surroundings import Surroundings
    from mlx_diagnose.collectors.weights_difference import Difference


class Skipped(Exception):
    """A collector has nothing to look at; the message says why."""


class Ledger:
    """How each collector ended. A collector that fails is a gap in the facts, not the end of the run."""

    def __init__(self) -> None:
        self.outcomes: list[CollectorOutcome] = []

    def run(self, name: str, work: Callable[[], object]) -> None:
        """``work()``, timed; if it raises, the reason is recorded and the diagnosis goes on."""
        started = time.perf_counter()
        try:
            work()
        except Skipped as reason:
            self._add(name, "skipped", str(reason), started)
        except Exception as error:
            self._add(name, "failed", f"{type(error).__name__}: {error}", started)
        else:
            self._add(name, "ok", None, started)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record a step whose failure ends the diagnosis."""
        started = time.perf_counter()
        yield
        self._add(name, "ok", None, started)

    def _add(self, name: str, status: CollectorStatus, reason: str | None, started: float) -> None:
        self.outcomes.append(CollectorOutcome(name, status, reason, round(time.perf_counter() - started, 6)))


@dataclass
class Examination:
    """Facts of one load of one directory. ``directory`` is the original or a changed scratch copy."""

    located: Located
    directory: Path | None
    memory: WorkingMemory
    ledger: Ledger
    document: ConfigDocument | None = None
    checkpoint: Checkpoint | None = None
    difference: Difference | None = None
    packages: dict[str, str] = field(default_factory=dict)
    needs: FamilyNeeds | None = None
    around: Surroundings | None = None

    @property
    def config(self) -> dict[str, Any] | None:
        """config.json as data, None where there is none that can be read."""
        return self.document.data if self.document is not None else None

    @property
    def family(self) -> str | None:
        """The family that the loader resolved to, once that is known."""
        fact = self.memory.one("resolution")
        return str(fact["resolved"]) if fact is not None and fact["family_exists"] else None

    def look_at_files(self, mlx_audio: str | None = None) -> None:
        """config.json and the weights files that ``mlx_audio`` (a version) reads: what needs nothing to run."""
        self.ledger.run("config", self._config)
        self.ledger.run("checkpoint", lambda: self._checkpoint(mlx_audio))

    def read_imports(self, run: LoadRun) -> None:
        """What the files of the family that ``run`` will load import: it takes a while, and needs no result."""
        from mlx_diagnose.collectors import dependencies, resolution

        found = run.mlx_audio or {}
        if found.get("directory") is None:
            return
        scratch = WorkingMemory()
        resolution.collect(
            scratch,
            mlx_audio_dir=Path(found["directory"]),
            category=run.category,
            directory_name=self.located.name,
            config=self.config,
            observed=run.resolution,
        )
        resolved = scratch.one("resolution")
        family = str(resolved["resolved"]) if resolved is not None and resolved["family_exists"] else None
        self.needs = dependencies.read_needs(Path(found["directory"]), run.category, family, whole=False)

    def look_at_installation(self, run: LoadRun) -> None:
        """What can be told of a load that was not run: packages, the family, what it imports."""
        self.ledger.run("environment", lambda: self._environment(run))
        self.ledger.run("resolution", lambda: self._resolution(run))
        self.ledger.run("dependencies", lambda: self._dependencies(run))
        self.ledger.run("packaged_files", lambda: self._packaged_files(run))
        self.ledger.run("memory_forecast", lambda: self._memory_forecast(run))
        self.ledger.run("config_difference", lambda: self._config_difference(run))
        self.ledger.run("known_values", lambda: self._known_values(run))
        self.ledger.run("quantization", lambda: self._quantization(run))

    def look_at_run(self, run: LoadRun, *, trace_requested: bool = False) -> None:
        """Everything that explains how ``run`` ended."""
        if any(gap["what"] == "load" for gap in run.unavailable):
            self.ledger.run("load", lambda: self._not_loaded(run))
        self.ledger.run("environment", lambda: self._environment(run))
        self.ledger.run("resolution", lambda: self._resolution(run))
        if self.needs is not None:
            self.ledger.run("dependencies", lambda: self._dependencies(run))
            self.ledger.run("memory_forecast", lambda: self._memory_forecast(run))
        self.ledger.run("packaged_files", lambda: self._packaged_files(run))
        self.ledger.run("component_interfaces", lambda: self._component_interfaces(run))
        self.ledger.run("config_difference", lambda: self._config_difference(run))
        self.ledger.run("known_values", lambda: self._known_values(run))
        self.ledger.run("exceptions", lambda: self._exceptions(run))
        self.ledger.run("unmatched_choice", self._unmatched_choice)
        self.ledger.run("series_gaps", lambda: self._series_gaps(run))
        self.ledger.run("weights_difference", lambda: self._weights_difference(run.tensors))
        self.ledger.run("quantization", lambda: self._quantization(run))
        self.ledger.run("trace", lambda: self._trace(run, trace_requested))

    def _not_loaded(self, run: LoadRun) -> None:
        """There is nothing to load it with: the reason is all there is to tell."""
        raise Skipped("; ".join(str(gap["reason"]) for gap in run.unavailable if gap["what"] == "load"))

    def look_at_companions(self, run: LoadRun, *, started: bool, traced: bool, offline_by_us: bool) -> None:
        """Repositories and files that the family wants; read in its source unless a load told all there is."""
        self.ledger.run("companions", lambda: self._companions(run, started, traced, offline_by_us))

    def look_for_sources(self) -> None:
        """Where on this machine files lie that the load did not find in the model directory."""
        self.ledger.run("companion_sources", self._sources)

    def _sources(self) -> None:
        from mlx_diagnose.collectors import companion_sources

        original = self.located.directory
        if self.directory is None or original is None or self.located.cache is not None:
            raise Skipped("the model is not on this machine")
        renamed = companion_sources.collect_renamed(self.memory, original)
        wanted = companion_sources.wanted_of(self.memory, self.directory)
        if not wanted and not renamed:
            raise Skipped("no file of the model was missed")
        companion_sources.collect(self.memory, original, self.config or {}, wanted)

    def _companions(self, run: LoadRun, started: bool, traced: bool, offline_by_us: bool) -> None:
        if self.directory != self.located.directory:
            raise Skipped("they were looked for in the directory as it was given")
        from mlx_diagnose.collectors import companions

        directory, family = (run.mlx_audio or {}).get("directory"), self.family
        found: list[companions.Companion] = []
        # Of a repository that is only on the hub not all files are here.
        complete = run.loads and self.directory is not None and self.located.cache is None
        if directory is not None and family is not None and (complete or traced or not run.loads):
            found = companions.describe(
                Path(directory),
                run.category,
                family,
                config=self.config,
                directory=self.directory,
                search_path=(run.hello or {}).get("path", ()),
            )
        if complete and self.directory is not None:
            from mlx_diagnose.collectors import unset_parts

            unset_parts.collect(self.memory, found, self.directory)
        companions.collect(
            self.memory,
            found if traced or not run.loads else (),
            run,
            directory=self.directory,
            model=self.located.model,
            started=started,
            offline_by_us=offline_by_us,
        )

    def look_at_cache(self, run: LoadRun, revision: str | None, folder: RepositoryFolder | None) -> None:
        """What the hub cache holds of the model (``folder``: held), and of the repositories that ``run`` asked for."""
        self.ledger.run("hub_cache", lambda: self._hub_cache(run, revision, folder))

    def _hub_cache(self, run: LoadRun, revision: str | None, folder: RepositoryFolder | None) -> None:
        from mlx_diagnose.collectors import hub_requests

        unsound = [file.file for file in self.checkpoint.files if not file.sound] if self.checkpoint else []
        if self.located.cache is not None:
            raise Skipped("the hub itself was asked")
        if not hub_requests.collect(self.memory, self.located, run, revision=revision, unsound=unsound, folder=folder):
            raise Skipped("nothing of the hub was asked for in vain")

    def _config(self) -> None:
        from mlx_diagnose.collectors import config

        if self.directory is None:
            raise Skipped("there is no directory to look at")
        self.document = config.collect(self.memory, self.directory)

    def _checkpoint(self, mlx_audio: str | None) -> None:
        from mlx_diagnose.collectors import checkpoint

        if self.directory is None:
            raise Skipped("there is no directory to look at")
        formats = checkpoint.formats_of(mlx_audio)
        unfetched = self.located.cache.unfetched if self.located.cache is not None else None
        self.checkpoint = checkpoint.collect(self.memory, self.directory, formats=formats, unfetched=unfetched)

    def _environment(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import environment
        from mlx_diagnose.collectors.surroundings import Surroundings

        if run.hello is None:
            raise Skipped("the interpreter did not answer")
        self.around = Surroundings(run.hello, run.mlx_audio, run.category)
        self.packages = environment.collect(
            self.memory, hello=run.hello, backend=run.backend, directory=self.directory, around=self.around
        )

    def _dependencies(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import dependencies, known_conflicts, native_libraries

        found = (run.mlx_audio or {}).get("directory")
        if self.around is None or found is None:
            raise Skipped("mlx-audio was not found in the patient")
        # Where the import passed, what comes with the family is there; only its own functions may miss something.
        whole = run.steps.get("import", {}).get("status") != "passed"
        if self.needs is None or self.needs.family != self.family or (whole and not self.needs.whole):
            self.needs = dependencies.read_needs(Path(found), run.category, self.family, whole=whole)
        if not self.needs.readable:
            raise Skipped("mlx-audio is installed without sources that could be read (compiled files, or an archive)")
        dependencies.collect(self.memory, self.needs.needs, self.around)
        if not run.loads:
            known_conflicts.collect(self.memory, self.around)
        imported = {str(fact["top"]) for fact in self.memory.of("import_need", present=True)}
        native_libraries.collect(self.memory, self.around.modules, imported)

    def _packaged_files(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import packaged_files

        found = (run.mlx_audio or {}).get("directory")
        if found is None or self.family is None:
            raise Skipped("there is no installed family to look at")
        packaged_files.collect(self.memory, Path(found), run.category, self.family)

    def _component_interfaces(self, run: LoadRun) -> None:
        if not run.loads or self.directory is None or self.config is None or self.checkpoint is None:
            raise Skipped("it fails by itself, or there is no model directory to look at")
        from mlx_diagnose.collectors import component_interfaces

        component_interfaces.collect(self.memory, self.directory, self.checkpoint.table, self.config)

    def _memory_forecast(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import memory_forecast

        if self.checkpoint is None or not self.checkpoint.table:
            raise Skipped("there are no weights whose headers could be read")
        memory_forecast.collect(self.memory, self.checkpoint.table, run, self.config)

    def _resolution(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import resolution, signature_facts

        found = run.mlx_audio or {}
        if found.get("directory") is None:
            raise Skipped("mlx-audio was not found in the patient")
        archive = Path(found["directory"]).parent
        if archive.is_file():
            signature_facts.assert_archived(self.memory, archive)
            raise Skipped(f"mlx-audio lies inside the archive {archive.name}, where it cannot list its families")
        resolution.collect(
            self.memory,
            mlx_audio_dir=Path(found["directory"]),
            category=run.category,
            directory_name=self.located.name,
            config=self.config,
            observed={**(run.loader or {}), **(run.resolution or {})},
        )

    def _config_difference(self, run: LoadRun) -> None:
        if self.document is None or self.config is None:
            raise Skipped("there is no config to compare")
        from mlx_diagnose.collectors import config_difference

        found = (run.mlx_audio or {}).get("directory")
        if run.loads and not run.mismatches:
            self._silent_types(run, self.document, found)
            return
        config_difference.collect(
            self.memory,
            self.document,
            run.signature,
            mlx_audio_dir=Path(found) if found is not None else None,
            category=run.category,
            family=self.family,
            search_path=(run.hello or {}).get("path", ()),
            table=self.checkpoint.table if self.checkpoint is not None else None,
        )

    def _silent_types(self, run: LoadRun, document: ConfigDocument, folder: str | None) -> None:
        """Of a model that loads: values of a type that the load took for another."""
        from mlx_diagnose.collectors import config_difference, config_types
        from mlx_diagnose.knowledge_base.configurations import known_config

        usual = (known_config(self.family, run.category) or {}) if self.family is not None else {}
        if folder is None or self.family is None or not config_types.silent(document.data or {}, usual):
            raise Skipped("the load passed")
        config_difference.collect_types(self.memory, document, Path(folder), run.category, self.family, usual)

    def _known_values(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import known_values

        if self.document is None or self.config is None or self.family is None:
            raise Skipped("there is no config, or no family to compare it with")
        # Of a model that loads, only what no load shows is asked for.
        only_telling = run.loads and not run.mismatches
        known_values.collect(self.memory, self.document, run.category, self.family, only_telling=only_telling)

    def _exceptions(self, run: LoadRun) -> None:
        links = [*run.chain, *run.caught]
        if not links:
            raise Skipped("none were raised")
        from mlx_diagnose.collectors import exceptions
        from mlx_diagnose.collectors.exception_docs import ExceptionDoc

        docs = [ExceptionDoc.from_json(link) for link in links]
        context = exceptions.ExceptionContext(
            self.directory, self.config, self.packages, version_of=self._version_of_installed
        )
        exceptions.collect(self.memory, docs, context)
        if run.config_lost is not None and run.chain:
            from mlx_diagnose.collectors import config_reading

            config_reading.collect(self.memory, run.config_lost, docs[: len(run.chain)], self.packages)
        if run.chain:
            self._release_defects(run, docs[: len(run.chain)])

    def _unmatched_choice(self) -> None:
        raised = self.memory.of("exception", role="raised", stage="construct")
        if not raised or self.config is None:
            raise Skipped("nothing was raised while the model was made")
        from mlx_diagnose.collectors import unmatched_choice

        for fact in raised:
            if fact["file"] is not None and fact["line"] is not None:
                unmatched_choice.collect(self.memory, self.config, str(fact["file"]), int(str(fact["line"])))

    def _series_gaps(self, run: LoadRun) -> None:
        from mlx_diagnose.collectors import series_gaps, unplaced_tensors
        from mlx_diagnose.collectors.exception_docs import ExceptionDoc

        if run.failed_stage != "sanitize" or not run.chain or self.checkpoint is None:
            raise Skipped("sanitize raised nothing, or there is no checkpoint")
        raised = ExceptionDoc.from_json(run.chain[0])
        series_gaps.collect(self.memory, self.checkpoint.table, raised)
        if self.memory.one("tensor_gap") is None:
            unplaced_tensors.collect(self.memory, self.checkpoint.table, raised)

    def _version_of_installed(self, name: str) -> str | None:
        found = self.around.installed.get(name) if self.around is not None else None
        return found.version if found is not None else None

    def _release_defects(self, run: LoadRun, chain: Sequence[ExceptionDoc]) -> None:
        from mlx_diagnose.collectors import release_defects

        release_defects.collect(
            self.memory,
            chain,
            release_defects.Circumstances(
                packages=self.packages,
                system=(run.hello or {}).get("system"),
                category=run.category,
                family=self.family,
                model_type=str(declared) if (declared := (self.config or {}).get("model_type")) else None,
            ),
        )

    def _trace(self, run: LoadRun, requested: bool) -> None:
        if run.trace is None:
            raise Skipped("the calls of the load were not recorded")
        if not run.trace["calls"]:
            reasons = [str(gap["reason"]) for gap in run.unavailable if gap["what"] == "trace"]
            raise Skipped(reasons[0] if reasons else "the load made no call that is recorded")
        from mlx_diagnose.collectors import trace

        trace.collect(
            self.memory,
            run.trace,
            caught=run.caught,
            chain=run.chain,
            directory=self.directory,
            requested=requested,
        )

    def _weights_difference(self, met: Message | None) -> None:
        if met is None:
            raise Skipped("the load did not come to comparing tensors, or all of them fit")
        from mlx_diagnose.collectors import weights_difference
        from mlx_diagnose.collectors.tensors import table_from_json

        self.difference = weights_difference.collect(
            self.memory,
            stored=self.checkpoint.table if self.checkpoint is not None else {},
            sanitized=table_from_json(met["sanitized"]),
            model=table_from_json(met["model"]),
            strict=bool(met["strict"]),
            raised=bool(met["raised"]),
            counts=met["counts"],
        )

    def _quantization(self, run: LoadRun) -> None:
        if self.checkpoint is None:
            raise Skipped("there is no checkpoint")
        from mlx_diagnose.collectors import quantization
        from mlx_diagnose.collectors.tensors import table_from_json

        if run.loads and run.tensors is None:
            quantization.collect_plain(self.memory, self.checkpoint.table, self.config or {})
            return
        met = run.tensors
        quantization.collect(
            self.memory,
            stored=self.checkpoint.table,
            config=self.config,
            sanitized=table_from_json(met["sanitized"]) if met is not None else None,
            model=table_from_json(met["model"]) if met is not None else None,
        )
        folder = (run.mlx_audio or {}).get("directory")
        if folder is not None and self.memory.of("quantization_entry"):
            from mlx_diagnose.collectors import quantization_reader

            quantization_reader.collect(self.memory, Path(folder), run.category or "tts")
