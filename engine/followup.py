"""One failure hides the next: mend what was found on a copy, load again, until it loads or nothing helps.

Every round is an episode with facts of its own. A finding of a later episode says after which
fixes it was observed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch
from mlx_diagnose.collectors import counterfactual, ghosts
from mlx_diagnose.collectors import load as load_collector
from mlx_diagnose.collectors import target as target_collector
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.interpreter import Interpreter
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Ending, PatientProcess
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.collectors.trials import Outcome, Trials, outcome_of
from mlx_diagnose.engine import tracing, verification
from mlx_diagnose.engine.examination import Examination, Ledger
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import STAGES, Explains, Fact, Finding, StageResult
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.rulebase import RuleBase, failure_classes

#: Loads that are followed up at most.
MAX_EPISODES = 6
#: Seconds for all trials of a diagnosis; each is a load in the live session.
TRIAL_SECONDS = 25.0
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

    @property
    def offline_by_us(self) -> bool:
        """The patient is offline because a diagnosis is, not because its user is."""
        return self.options.offline is not False and not target_collector.offline_by_user()


@dataclass(frozen=True)
class Episode:
    """One load, what was seen of it, and what was concluded."""

    examination: Examination
    run: LoadRun
    stages: Sequence[StageResult]
    findings: list[Finding]
    facts: Sequence[Fact]


def follow(
    context: Context, rules: RuleBase, examination: Examination, run: LoadRun, process: PatientProcess | None
) -> list[Episode]:
    """The episodes of a diagnosis, beginning with the load as it is."""
    return _Course(context, rules, process).follow(examination, run)


class _Course:
    """The episodes so far, and what the load was mended with."""

    def __init__(self, context: Context, rules: RuleBase, process: PatientProcess | None) -> None:
        self._context = context
        self._rules = rules
        self._process = process
        self._episodes: list[Episode] = []
        self._after: tuple[str, ...] = ()
        self._until = time.monotonic() + min(TRIAL_SECONDS, context.options.timeout / 3)
        self._trials: Trials | None = None
        self._ghost = context.located.cache is not None
        self._shimmed_at: int | None = None

    def follow(self, examination: Examination, run: LoadRun) -> list[Episode]:
        """Examine ``run``, and what is behind its failure, as far as that can be mended."""
        following: tuple[Examination, LoadRun] | None = (examination, run)
        while following is not None:
            examination, run = following
            base = outcome_of(run, examination.directory)
            repair = self._conclude(examination, run, base)
            following = None
            if self._live and not run.loads and len(self._episodes) < MAX_EPISODES:
                following = self._mended(examination, run, base, repair)
        return _settled(self._episodes, self._shimmed_at)

    @property
    def _live(self) -> bool:
        return self._process is not None and self._process.ending is None

    def _conclude(self, examination: Examination, run: LoadRun, base: Outcome) -> Repair | None:
        """Facts, trials, rules and tried fixes of one load: the next episode. Returns the best change found."""
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
        repair = None
        if self._live and examination.directory is not None and examination.config is not None and not run.loads:
            assert self._process is not None
            if self._trials is None:
                overlays = context.stack.enter_context(Overlays(examination.directory, context.located.name))
                self._trials = Trials(self._process, overlays, self._until, run, ghost=self._ghost)
            context.progress("trying changes of the config")
            with context.ledger.timed("counterfactual"):
                repair = counterfactual.search(examination.config, examination.memory, base, self._trials)
            if base.stage == "construct":
                self._build_minimally(examination, run, repair)
        findings, facts = _infer(context, self._rules, examination)
        original = self._episodes[0].examination if self._episodes else examination
        findings = [_with_excerpt(finding, original, examination) for finding in findings]
        if self._trials is not None and examination.config is not None:
            findings = verification.verify(findings, examination.config, base, self._trials, repair)
        findings = _numbered(findings, self._episodes, self._after)
        stages = _skipped_stages() if self._process is None else _stages(context, run)
        self._episodes.append(Episode(examination, run, stages, findings, facts))
        return repair

    def _build_minimally(self, examination: Examination, run: LoadRun, repair: Repair | None) -> None:
        """Where the model cannot be made: which part of it, and against what is known to be good."""
        from mlx_diagnose.collectors import minimal
        from mlx_diagnose.collectors.builds import Builds

        process, config, ghost = self._process, examination.config, self._ghost
        assert process is not None and config is not None and self._trials is not None
        builds = Builds(process, self._trials.overlays, run, time.monotonic() + BUILD_SECONDS)
        compare = (repair is None or not repair.outcome.loads) and load_collector.blocking_reach(run) is None
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
        self, examination: Examination, run: LoadRun, base: Outcome, repair: Repair | None
    ) -> tuple[Examination, LoadRun] | None:
        """The load with what failed mended, or None where nothing is left to mend."""
        if self._shimmed_at is None and _wants_metal(run):
            self._shimmed_at = len(self._episodes) - 1
            return self._again(examination, run, examination.directory, shim="metal-kernels")
        if not self._ghost and run.failed_stage == "weights" and examination.checkpoint is not None:
            overlays = self._context.stack.enter_context(
                Overlays(examination.checkpoint.directory, self._context.located.name)
            )
            completed = ghosts.completed(examination.checkpoint, overlays)
            if completed is not None:
                # From here on only shapes are known; a value that is read is told, not made up.
                self._ghost, self._trials = True, None
                self._after = (*self._after, *_fixes_about(self._episodes[-1].findings, "weights/corrupt"))
                return self._again(examination, run, completed)
        if repair is None:
            return None
        if repair.outcome.loads:
            if not self._ghost:
                _confirm(self._context, self._episodes, repair, self._shimmed_at is not None)
            return None
        made = _fixes_of(self._episodes[-1].findings, examination, repair)
        if not made:
            # Only what a rule recommends is followed: behind a guess lies nothing of the user's.
            return None
        if repair.outcome.stage != base.stage:
            # Faults of one stage were there to be seen together.
            self._after = (*self._after, *made)
        return self._next(examination, repair.outcome.directory), repair.outcome.run

    def _again(
        self, examination: Examination, run: LoadRun, directory: Path | None, shim: str | None = None
    ) -> tuple[Examination, LoadRun]:
        assert self._process is not None
        request = self._process.request(load=self._loaded(directory), shim=shim, ghost=self._ghost)
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


def _skipped_stages() -> list[StageResult]:
    """The stages of a diagnosis that runs nothing."""
    return [StageResult(name, "skipped") for name in STAGES]


def _gather(context: Context, examination: Examination, run: LoadRun, ending: Ending, *, static: bool) -> None:
    """Assert the facts of a load."""
    memory = examination.memory
    category = context.options.category or (run.category if run.mlx_audio else None)
    target_collector.assert_facts(memory, examination.located, category)
    examination.look_at_cache(run, context.options.revision)
    if not static:
        load_collector.assert_facts(memory, run, ending, _stages(context, run), offline_by_us=context.offline_by_us)
        examination.look_at_run(run, trace_requested=context.options.trace)
    else:
        examination.look_at_installation(run)


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


def _numbered(findings: list[Finding], episodes: Sequence[Episode], after: tuple[str, ...]) -> list[Finding]:
    """Findings that no earlier episode had, with ids of their own for the whole report."""
    known = {_key(finding) for episode in episodes for finding in episode.findings}
    number = sum(len(finding.fixes) for episode in episodes for finding in episode.findings)
    fresh = []
    for finding in findings:
        if _key(finding) in known:
            continue
        fixes = []
        for fix in finding.fixes:
            number += 1
            fixes.append(replace(fix, id=f"x{number}"))
        identity = f"{len(episodes)}.{finding.id}" if episodes else finding.id
        fresh.append(replace(finding, id=identity, fixes=tuple(fixes), observed_after=after))
    return fresh


def _key(finding: Finding) -> tuple[Any, ...]:
    return (finding.rule, finding.failure_class, finding.subjects)


def _wants_metal(run: LoadRun) -> bool:
    """The load ended because a module builds a Metal kernel while it is imported, on a machine without Metal."""
    return any(link["message"].startswith("[metal_kernel]") for link in run.chain)


def _fixes_about(findings: Sequence[Finding], failure_class: str) -> list[str]:
    return [fix.id for finding in findings if finding.failure_class == failure_class for fix in finding.fixes[:1]]


def _fixes_of(findings: Sequence[Finding], examination: Examination, repair: Repair) -> list[str]:
    """Ids of the fixes that are the repair which was made."""
    found = []
    for finding in findings:
        for fix in finding.fixes:
            try:
                if fix.config_patch and apply_patch(examination.config or {}, fix.config_patch) == repair.config:
                    found.append(fix.id)
            except PatchError:
                continue
    return found


def _confirm(context: Context, episodes: list[Episode], repair: Repair, shimmed: bool) -> None:
    """Load the mended copy once in a fresh process: a live session may have kept something."""
    from mlx_diagnose.engine.patients import start

    directory = repair.outcome.directory
    assert directory is not None
    context.progress("confirming the fix in a fresh process")
    with start(
        context.options,
        context.interpreter,
        replace(context.located, load=str(directory), directory=directory),
        shimmed,
    ) as process:
        run = LoadRun().take(process.messages())
    outcome: Outcome = outcome_of(run, directory)
    for number, episode in enumerate(episodes):
        findings = verification.confirmed(episode.findings, outcome)
        episodes[number] = replace(episode, findings=findings)


def _settled(episodes: list[Episode], shimmed_at: int | None) -> list[Episode]:
    """Where going on without Metal showed another failure, that one is the model's; the missing
    Metal is a limit of this machine, and a warning. The stages are then those of the load that went on."""
    if shimmed_at is None:
        return episodes
    behind = any(finding.severity == "error" for episode in episodes[shimmed_at + 1 :] for finding in episode.findings)
    if not behind:
        return episodes
    settled = list(episodes)
    limited = episodes[shimmed_at]
    settled[shimmed_at] = replace(
        limited,
        stages=episodes[shimmed_at + 1].stages,
        findings=[
            _demoted(finding, limited.findings) if finding.failure_class == "dependency/backend" else finding
            for finding in limited.findings
        ],
    )
    return settled


def _demoted(finding: Finding, shown: Sequence[Finding]) -> Finding:
    """A limit of the machine as a warning: of what it claims to explain it keeps what showed with it,
    since what was seen behind it has causes of its own."""
    claims = tuple(
        Explains(other.failure_class, subject.name)
        for other in shown
        if other is not finding
        for subject in other.subjects
        if any(failure_classes.covers(claim.failure_class, other.failure_class) for claim in finding.claims)
    )
    return replace(finding, severity="warning", claims=claims)
