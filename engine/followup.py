"""One failure hides the next: mend what was found on a copy, load again, until it loads or nothing helps.

Every round is an episode with facts of its own. A finding of a later episode says after which
fixes it was observed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters.config_patch import PatchError, apply_patch
from mlx_diagnose.collectors import counterfactual
from mlx_diagnose.collectors import load as load_collector
from mlx_diagnose.collectors import target as target_collector
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.interpreter import Interpreter
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Ending, PatientProcess
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.collectors.trials import Outcome, Trials, outcome_of
from mlx_diagnose.engine import verification
from mlx_diagnose.engine.examination import Examination, Ledger
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import STAGES, Fact, Finding, StageResult
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.rulebase import RuleBase

#: Loads that are followed up at most.
MAX_EPISODES = 6
#: Seconds for all trials of a diagnosis; each is a load in the live session.
TRIAL_SECONDS = 25.0


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
    trials: Trials | None = None
    episodes: list[Episode] = []
    after: tuple[str, ...] = ()
    shimmed_at: int | None = None
    ending = process.ending if process is not None else None
    while True:
        directory = examination.directory
        base = outcome_of(run, directory)
        _gather(context, examination, run, ending or Ending("completed"), static=process is None)
        repair = None
        live = process is not None and process.ending is None
        if live and directory is not None and examination.config is not None and not run.loads:
            assert process is not None
            if trials is None:
                overlays = context.stack.enter_context(Overlays(directory, context.located.name))
                trials = Trials(process, overlays, min(TRIAL_SECONDS, context.options.timeout / 3))
            context.progress("trying changes of the config")
            with context.ledger.timed("counterfactual"):
                repair = counterfactual.search(examination.config, examination.memory, base, trials)
        findings, facts = _infer(context, rules, examination)
        if trials is not None and examination.config is not None:
            findings = verification.verify(findings, examination.config, base, trials, repair)
        findings = _numbered(findings, episodes, after)
        stages = skipped_stages() if process is None else _stages(context, run)
        episodes.append(Episode(examination, run, stages, findings, facts))
        if not live or run.loads or len(episodes) == MAX_EPISODES:
            break
        made = _fixes_of(findings, examination, repair) if repair is not None else []
        if shimmed_at is None and _wants_metal(run):
            assert process is not None
            shimmed_at = len(episodes) - 1
            load = context.located.load if directory == context.located.directory else str(directory)
            run = LoadRun().take(process.request(load=load, shim="metal-kernels"))
            examination = _next(context, examination, directory, len(episodes))
        elif repair is not None and made and not repair.outcome.loads:
            # Only what a rule recommends is followed: behind a guess lies nothing of the user's.
            run = repair.outcome.run
            if repair.outcome.stage != base.stage:
                # Faults of one stage were there to be seen together.
                after = (*after, *made)
            examination = _next(context, examination, repair.outcome.directory, len(episodes))
        else:
            if repair is not None and repair.outcome.loads:
                _confirm(context, episodes, repair, shimmed_at is not None)
            break
        ending = process.ending if process is not None else None
    return _settled(episodes, shimmed_at)


def skipped_stages() -> list[StageResult]:
    """The stages of a diagnosis that runs nothing."""
    return [StageResult(name, "skipped") for name in STAGES]


def _gather(context: Context, examination: Examination, run: LoadRun, ending: Ending, *, static: bool) -> None:
    """Assert the facts of a load."""
    memory = examination.memory
    category = context.options.category or (run.category if run.mlx_audio else None)
    target_collector.assert_facts(memory, examination.located, category)
    if not static:
        load_collector.assert_facts(memory, run, ending, _stages(context, run), offline_by_us=context.offline_by_us)
        examination.look_at_run(run)


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
    return [_with_excerpt(finding, examination) for finding in inference.findings], inference.facts


def _with_excerpt(finding: Finding, examination: Examination) -> Finding:
    """The user's own lines of config.json, for a finding about a key of it."""
    if examination.document is None or finding.excerpt is not None:
        return finding
    for subject in finding.subjects:
        if subject.kind == "config_key":
            text = examination.document.excerpt(subject.name)
            if text:
                return replace(finding, excerpt=text)
    if finding.failure_class == "config/unreadable":
        return replace(finding, excerpt=examination.document.excerpt())
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
        fresh.append(
            replace(
                finding,
                id=identity,
                fixes=tuple(fixes),
                observed_after=after,
                excerpt=None if after else finding.excerpt,
            )
        )
    return fresh


def _key(finding: Finding) -> tuple[Any, ...]:
    return (finding.rule, finding.failure_class, finding.subjects)


def _wants_metal(run: LoadRun) -> bool:
    """The load ended because a module builds a Metal kernel while it is imported, on a machine without Metal."""
    return any(link["message"].startswith("[metal_kernel]") for link in run.chain)


def _next(context: Context, last: Examination, directory: Path | None, number: int) -> Examination:
    examination = Examination(last.located, directory, WorkingMemory(f"e{number}."), context.ledger)
    examination.look_at_files()
    return examination


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
            replace(finding, severity="warning") if finding.failure_class == "dependency/backend" else finding
            for finding in limited.findings
        ],
    )
    return settled
