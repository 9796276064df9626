"""One failure hides the next: mend what was found on a copy, load again, until it loads or nothing helps.

Every round is an episode with facts of its own. A finding of a later episode says after which
fixes it was observed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import absent_sections, counterfactual, ghosts
from mlx_diagnose.collectors import load as load_collector
from mlx_diagnose.collectors import target as target_collector
from mlx_diagnose.collectors.candidates import Candidate, explained_otherwise, hollow, types_by_tensors
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.interpreter import Interpreter
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Ending, PatientProcess
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.collectors.trials import Outcome, Trials, outcome_of
from mlx_diagnose.engine import mending, tracing, verification, weight_repairs
from mlx_diagnose.engine.bench import Bench, with_sources
from mlx_diagnose.engine.beside import Beside
from mlx_diagnose.engine.environments import try_environments
from mlx_diagnose.engine.episodes import Episode, key, overtaken, settled, superseded
from mlx_diagnose.engine.examination import Examination, Ledger
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import STAGES, Fact, Finding, Fix, StageResult, stage_index
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.remote import Remote
from mlx_diagnose.engine.rulebase import RuleBase
from mlx_diagnose.engine.verification import Found
from mlx_diagnose.engine.weight_repairs import WeightRepair

#: Loads that are followed up at most.
MAX_EPISODES = 6
#: Seconds for all trials of a diagnosis; each is a load in the live session.
TRIAL_SECONDS = 25.0
#: Seconds that there are at least for changes of the weights, and for trying the fixes that rules prescribe.
VERIFYING_SECONDS = 5.0
#: Facts that tell of a construction why it failed.
_TELLING: Mapping[str, Mapping[str, bool]] = {
    "missing_argument": {},
    "missing_key": {},
    "unexpected_argument": {"in_config": True},
    "type_disagreement": {},
    "absent_section": {"required": True},
}
#: Seconds for the minimal builds of one load that failed while the model was made.
BUILD_SECONDS = 8.0


@dataclass(frozen=True)
class Context:
    """What stays the same over the episodes of one diagnosis."""

    options: Options
    located: Located
    interpreter: Interpreter
    ledger: Ledger
    stack: ExitStack
    progress: Callable[[str], None]
    remote: Remote | None = None
    beside: Beside | None = None

    @property
    def offline_by_us(self) -> bool:
        """The patient is offline because a diagnosis is, not because its user is."""
        return self.options.offline is not False and not target_collector.offline_by_user()


@dataclass(frozen=True)
class Course:
    """The episodes of a diagnosis, and the ids of the fewest fixes that were found to make the model load."""

    episodes: list[Episode]
    mends: tuple[str, ...] = ()


def follow(
    context: Context, rules: RuleBase, examination: Examination, run: LoadRun, process: PatientProcess | None
) -> Course:
    """The episodes of a diagnosis, beginning with the load as it is."""
    course = _Course(context, rules, process)
    return Course(course.follow(examination, run), tuple(fix.id for fix in course.used))


class _Course:
    """The episodes so far, and what the load was mended with."""

    def __init__(self, context: Context, rules: RuleBase, process: PatientProcess | None) -> None:
        self._context = context
        self._rules = rules
        self._process = process
        self._episodes: list[Episode] = []
        self._after: tuple[str, ...] = ()
        self._first_seen: dict[Any, tuple[str, ...]] = {}
        self._fix_numbers = count(1)
        self._until = time.monotonic() + min(TRIAL_SECONDS, context.options.timeout / 3)
        self._bench: Bench | None = None
        self._mends: list[Fix] = []
        self.used: tuple[Fix, ...] = ()
        self._ghost = context.located.cache is not None
        self._shimmed_at: int | None = None

    def follow(self, examination: Examination, run: LoadRun) -> list[Episode]:
        """Examine ``run``, and what is behind its failure, as far as that can be mended."""
        following: tuple[Examination, LoadRun] | None = (examination, run)
        while following is not None:
            examination, run = following
            base = outcome_of(run, examination.directory)
            found = self._conclude(examination, run, base)
            following = None
            if self._live and not (run.loads and self._bench is None) and len(self._episodes) < MAX_EPISODES:
                following = self._mended(examination, run, base, found)
        return settled(self._episodes, self._shimmed_at)

    @property
    def _live(self) -> bool:
        return self._process is not None and self._process.ending is None

    def _conclude(self, examination: Examination, run: LoadRun, base: Outcome) -> Found:
        """Facts, trials, rules and tried fixes of one load: the next episode. Returns the best changes found."""
        context = self._context
        if self._live and run.trace is None:
            assert self._process is not None
            load = self._loaded(examination.directory)
            with context.ledger.timed("tracing"):
                tracing.retrace(self._process, run, load, ghost=self._ghost)
        ending = self._process.ending if self._process is not None else None
        _gather(context, examination, run, ending or Ending("completed"), static=self._process is None)
        if self._process is not None and not self._episodes:
            context.ledger.run("output", lambda: self._output(examination))
        found = Found()
        if (
            self._live
            and examination.directory is not None
            and examination.config is not None
            and _misfits(examination, run)
        ):
            found = self._search(examination, run, base)
        findings, facts = _infer(context, self._rules, examination)
        original = self._episodes[0].examination if self._episodes else examination
        findings = [_with_excerpt(finding, original, examination) for finding in findings]
        if self._bench is not None and examination.config is not None:
            self._bench.trials.allow(VERIFYING_SECONDS)
            findings = verification.verify(findings, examination.config, base, self._bench, found)
        elif self._live and run.loads and verification.wants_loads(findings):
            bench = self._new_bench(examination, run)
            if bench is not None and examination.config is not None:
                bench.trials.allow(VERIFYING_SECONDS)
                findings = verification.still_loading(findings, examination.config, base, bench)
        if self._live and not self._episodes and not run.loads:
            findings = try_environments(findings, base, self._loaded_with)
        self._episodes = overtaken(superseded(self._episodes, findings), examination)
        findings = self._numbered(findings)
        stages = _skipped_stages() if self._process is None else _stages(context, run)
        self._episodes.append(Episode(examination, run, stages, findings, facts))
        return found

    def _numbered(self, findings: Sequence[Finding]) -> list[Finding]:
        """Findings that no earlier episode has, with ids of their own for the whole report.

        One that is told again keeps after which fixes it was seen first.
        """
        before = [finding for episode in self._episodes for finding in episode.findings]
        known = {key(finding) for finding in before}
        fresh = []
        for finding in findings:
            if key(finding) in known or _is_remainder(finding, before):
                continue
            fixes = tuple(replace(fix, id=f"x{next(self._fix_numbers)}") for fix in finding.fixes)
            identity = f"{len(self._episodes)}.{finding.id}" if self._episodes else finding.id
            first = self._first_seen.setdefault(key(finding), self._after)
            fresh.append(replace(finding, id=identity, fixes=fixes, observed_after=first))
        return fresh

    def _search(self, examination: Examination, run: LoadRun, base: Outcome) -> Found:
        """Single changes of config and weights, tried on the live session."""
        context, config = self._context, examination.config
        if self._bench is None:
            self._bench = self._new_bench(examination, run)
        bench = self._bench
        assert bench is not None and config is not None
        context.progress("trying changes of the config")
        repair = None
        # No single change stands in for a whole section.
        if not self._lacks_section(examination, run):
            with context.ledger.timed("counterfactual"):
                repair = counterfactual.search(
                    config, examination.memory, base, bench.trials, lambda: self._types(examination, run)
                )
        weights: Sequence[WeightRepair] = ()
        if stage_index(base.stage) >= stage_index("weights"):
            context.progress("trying changes of the weights")
            bench.trials.allow(VERIFYING_SECONDS)
            with context.ledger.timed("weight_repairs"):
                weights = weight_repairs.search(examination, base, bench, repair)
        if base.stage == "construct":
            self._build_minimally(examination, run, repair)
        return Found(repair, weights)

    def _new_bench(self, examination: Examination, run: LoadRun) -> Bench | None:
        """Trials on copies of the directory; None where there is none."""
        if self._process is None or examination.directory is None:
            return None
        context = self._context
        overlays = context.stack.enter_context(Overlays(examination.directory, context.located.name))
        trials = Trials(self._process, overlays, self._until, run, ghost=self._ghost)
        return Bench(trials, examination.checkpoint)

    def _lacks_section(self, examination: Examination, run: LoadRun) -> bool:
        """Whether what does not fit follows the numbers of a section that the config does not have, or all of them."""
        memory, config, bench = examination.memory, examination.config, self._bench
        assert config is not None and bench is not None
        if memory.of("config_wrapped"):
            return True
        if memory.of("restyled_key"):
            return False  # it may be there under its name in another style
        if hollow(memory):
            return False  # a value that cannot be stands there: to add a section may only overrule it
        difference = examination.difference
        renamings = difference.renamings if difference is not None else ()
        renamed = {wanted for one in renamings if not one.ambiguous for _, wanted in one.pairs}
        self._context.ledger.run(
            "absent_sections", lambda: absent_sections.collect(memory, config, run, bench.trials, renamed)
        )
        return any(float(fact["share"] or 0) >= absent_sections.MOST for fact in memory.of("section_influence"))

    def _types(self, examination: Examination, run: LoadRun) -> Iterable[Iterable[Candidate]]:
        """Other model types, by the checkpoint: where the type was asked for, or what it led to does not fit."""
        stored, config = examination.checkpoint, examination.config
        if (
            stored is None
            or config is None
            or run.failed_stage not in ("architecture", "construct", "sanitize", "load")
        ):
            return ()
        difference = examination.difference
        if difference is not None and 2 * sum(len(one.pairs) for one in difference.renamings) > len(difference.missing):
            return ()  # the names are those of the family, but for a rule
        return types_by_tensors(config, run, stored.table)

    def _loaded_with(self, variables: Mapping[str, str]) -> Outcome | None:
        """The load as it is, in a process of its own that has ``variables``."""
        from mlx_diagnose.engine.patients import start

        context = self._context
        context.progress("trying variables of the environment")
        with start(context.options, context.interpreter, context.located, variables=variables) as process:
            run = LoadRun().take(process.messages())
        return outcome_of(run, None) if run.outcome is not None else None

    def _build_minimally(self, examination: Examination, run: LoadRun, repair: Repair | None) -> None:
        """Where the model cannot be made: which part of it, and against what is known to be good."""
        from mlx_diagnose.collectors import minimal
        from mlx_diagnose.collectors.builds import Builds

        process, config, ghost = self._process, examination.config, self._ghost
        assert process is not None and config is not None and self._bench is not None
        builds = Builds(process, self._bench.trials.overlays, run, time.monotonic() + BUILD_SECONDS)
        known = (repair is not None and repair.outcome.loads) or load_collector.blocking_reach(run) is not None
        compare = not known and not any(examination.memory.of(kind, **fields) for kind, fields in _TELLING.items())
        self._context.progress("building the model part by part")
        self._context.ledger.run(
            "minimal",
            lambda: minimal.collect(examination.memory, config, run, builds, ghost=ghost, compare=compare),
        )

    def _output(self, examination: Examination) -> None:
        from mlx_diagnose.collectors import output

        assert self._process is not None
        output.collect(examination.memory, *self._process.output())

    def _mended(
        self, examination: Examination, run: LoadRun, base: Outcome, found: Found
    ) -> tuple[Examination, LoadRun] | None:
        """The load with what failed mended, or None where nothing is left to mend."""
        if self._shimmed_at is None and _wants_metal(run):
            self._shimmed_at = len(self._episodes) - 1
            return self._again(examination, run, examination.directory, shims=["metal-kernels"])
        if run.failed_stage == "resolve" and _snapshot_refused(examination):
            # The client refuses a snapshot that is not whole; what is there can be loaded as a directory.
            assert examination.directory is not None
            overlays = self._context.stack.enter_context(Overlays(examination.directory, self._context.located.name))
            self._bench = None
            return self._again(examination, run, overlays.as_it_is())
        if not self._ghost and run.failed_stage == "weights" and examination.checkpoint is not None:
            overlays = self._context.stack.enter_context(
                Overlays(examination.checkpoint.directory, self._context.located.name)
            )
            completed = ghosts.completed(examination.checkpoint, overlays)
            if completed is not None:
                # From here on only shapes are known; a value that is read is told, not made up.
                self._ghost, self._bench = True, None
                self._after = (*self._after, *_fixes_about(self._episodes[-1].findings, "weights/corrupt"))
                return self._again(examination, run, completed)
        bench, config = self._bench, examination.config
        if bench is None or config is None:
            return None
        helpful = mending.steps(self._episodes[-1].findings, config, base, bench, found)
        mend = mending.compose(helpful, config, bench)
        if mend is None:
            return None
        self._mends += mend.fixes
        bench.stand(mend.operations, mending.shims_of(mend.fixes), mend.copies)
        if mend.outcome.loads:
            if not self._ghost:
                self._confirm(bench, mend.outcome)
            return None
        if mend.outcome.stage != base.stage:
            # Faults of one stage were there to be seen together.
            self._after = (*self._after, *(fix.id for fix in mend.fixes))
        return self._next(examination, mend.outcome.directory), mend.outcome.run

    def _confirm(self, bench: Bench, outcome: Outcome) -> None:
        """Load the mended copy once in a fresh process: a live session may have kept something."""
        from mlx_diagnose.engine.patients import start

        context, config = self._context, self._episodes[0].examination.config
        used = mending.smallest(self._mends, config, bench) if config is not None else ()
        directory = outcome.directory
        assert directory is not None
        context.progress("confirming the fix in a fresh process")
        copy = replace(context.located, load=str(directory), directory=directory)
        ghost = bool(bench.standing) and not outcome.rewritten
        shims = (*(["metal-kernels"] if self._shimmed_at is not None else []), *mending.shims_of(used))
        with start(context.options, context.interpreter, copy, shims, ghost=ghost) as process:
            run = LoadRun().take(process.messages())
        again = outcome_of(run, directory)
        self.used = used if again.loads else ()
        self._episodes = [
            replace(episode, findings=verification.confirmed(episode.findings, again, {fix.id for fix in used}))
            for episode in self._episodes
        ]

    def _again(
        self, examination: Examination, run: LoadRun, directory: Path | None, shims: Sequence[str] = ()
    ) -> tuple[Examination, LoadRun]:
        assert self._process is not None
        request = self._process.request(
            load=self._loaded(directory), shims=with_sources(shims), keep=True, ghost=self._ghost
        )
        return self._next(examination, directory), run.successor().take(request)

    def _loaded(self, directory: Path | None) -> str:
        """What the loader is given for ``directory``."""
        located = self._context.located
        return located.load if directory == located.directory else str(directory)

    def _next(self, last: Examination, directory: Path | None) -> Examination:
        memory = WorkingMemory(f"e{len(self._episodes)}.")
        examination = Examination(last.located, directory, memory, self._context.ledger)
        examination.look_at_files(self._episodes[0].run.version)
        return examination


def _is_remainder(finding: Finding, before: Sequence[Finding]) -> bool:
    """What is left of a finding that was told before, about fewer of the same, with nothing new to try."""
    if any(fix.applicability == "verified" for fix in finding.fixes):
        return False
    subjects = set(finding.subjects)
    return any(
        (one.rule, one.failure_class) == (finding.rule, finding.failure_class) and subjects < set(one.subjects)
        for one in before
    )


def _misfits(examination: Examination, run: LoadRun) -> bool:
    """It fails, or loads only because the load is not strict: with shapes or layers that the config may have wrong,
    or with tensors under other names."""
    if not run.loads:
        return True
    memory = examination.memory
    if any(not rename["ambiguous"] for rename in memory.of("tensor_rename")):
        return True
    counts = run.tensors["counts"] if run.tensors is not None else {}
    sizes = counts.get("shape") or memory.of("layers_absent")
    return bool(sizes) and not explained_otherwise(memory)


def _skipped_stages() -> list[StageResult]:
    """The stages of a diagnosis that runs nothing."""
    return [StageResult(name, "skipped") for name in STAGES]


def _gather(context: Context, examination: Examination, run: LoadRun, ending: Ending, *, static: bool) -> None:
    """Assert the facts of a load."""
    memory = examination.memory
    category = context.options.category or (run.category if run.mlx_audio else None)
    target_collector.assert_facts(memory, examination.located, category)
    beside = context.beside
    examination.look_at_cache(run, context.options.revision, beside.folder if beside is not None else None)
    if not static:
        load_collector.assert_facts(memory, run, ending, _stages(context, run), offline_by_us=context.offline_by_us)
        examination.look_at_run(run, trace_requested=context.options.trace)
    else:
        examination.look_at_installation(run)
    if not static:
        examination.look_for_sources()
    examination.look_at_companions(
        run, started=not static, traced=context.options.trace, offline_by_us=context.offline_by_us
    )
    remote = context.remote
    if remote is not None:
        context.ledger.run("hub_companions", lambda: remote.look_ahead(memory))
    elif beside is not None and context.options.offline is False:
        context.ledger.run("hub_companions", lambda: beside.look_ahead(memory))


def _stages(context: Context, run: LoadRun) -> list[StageResult]:
    withheld = context.offline_by_us and load_collector.blocking_reach(run) is not None
    return load_collector.stage_results(run, blocked=withheld)


def _infer(context: Context, rules: RuleBase, examination: Examination) -> tuple[list[Finding], Sequence[Fact]]:
    from mlx_diagnose.engine.inference import infer

    target = examination.memory.one("target")
    version = examination.packages.get("mlx-audio")
    with context.ledger.timed("inference"):
        inference = infer(
            rules,
            examination.memory,
            engine=context.options.engine,
            category=str(target["category"]) if target is not None else None,
            family=examination.family,
            mlx_audio=version,
        )
    return list(inference.findings), inference.facts


def _with_excerpt(finding: Finding, original: Examination, examination: Examination) -> Finding:
    """The user's own lines of config.json, for a finding about a key that stands there as it was loaded."""
    document, loaded = original.document, examination.document
    if document is None or loaded is None or finding.excerpt is not None:
        return finding
    if finding.failure_class == "config/unreadable":
        return replace(finding, excerpt=document.excerpt())
    for subject in finding.subjects:
        if subject.kind == "config_key" and document.value_at(subject.name) == loaded.value_at(subject.name):
            text = document.excerpt(subject.name)
            if text:
                return replace(finding, excerpt=text)
    return finding


def _snapshot_refused(examination: Examination) -> bool:
    """The model is a snapshot of the hub cache, with a config, that was looked at where it lies."""
    located = examination.located
    return located.source == "hub" and located.state == "present" and examination.directory == located.directory


def _wants_metal(run: LoadRun) -> bool:
    """The load ended because a module builds a Metal kernel while it is imported, on a machine without Metal."""
    return any(link["message"].startswith("[metal_kernel]") for link in run.chain)


def _fixes_about(findings: Sequence[Finding], failure_class: str) -> list[str]:
    return [fix.id for finding in findings if finding.failure_class == failure_class for fix in finding.fixes[:1]]
