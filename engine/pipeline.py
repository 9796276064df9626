"""The one module that knows the order: target, collect, infer, diagnose, prescribe, verify, report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from mlx_diagnose import __version__
from mlx_diagnose.adapters.installer import with_exact_commands
from mlx_diagnose.collectors import target as target_collector
from mlx_diagnose.collectors.interpreter import choose
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import PatientProcess
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine import runs
from mlx_diagnose.engine.beside import Beside, is_allowed
from mlx_diagnose.engine.diagnosis import fold, verdict
from mlx_diagnose.engine.examination import Examination, Ledger
from mlx_diagnose.engine.followup import Context, Course, follow
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Patient, Report, Target, UsageError
from mlx_diagnose.engine.nearest import nearest_rules
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.patients import greeting, not_python, start
from mlx_diagnose.engine.remote import Remote, is_asked
from mlx_diagnose.engine.rulebase import RuleBase

Progress = Callable[[str], None]


def diagnose(options: Options, progress: Progress = lambda _: None) -> Report:
    """One diagnosis. Raises UsageError for a request that cannot be carried out."""
    started = time.perf_counter()
    located = locate(options)
    interpreter = choose(options.python)
    ledger = Ledger()
    with ExitStack() as stack:
        remote = beside = None
        if is_asked(options, located):
            remote = Remote(options, located, stack, progress)
            with ledger.timed("hub"):
                located = remote.look(interpreter.executable)
        elif is_allowed(options, located):
            beside = Beside(options, located, stack, progress)
        process = None
        if not options.only_static:
            # First of all: while the patient imports mlx-audio, everything here is loaded.
            progress("loading the model lazily")
            process = stack.enter_context(start(options, interpreter, located))
        context = Context(options, located, interpreter, ledger, stack, progress, remote, beside)
        rules, course = _examine(context, process)
        report = _report(context, rules, course)
    return replace(report, timings={"total": round(time.perf_counter() - started, 6)})


def locate(options: Options) -> Located:
    """Find what is to be diagnosed. Raises UsageError for a file."""
    located = target_collector.locate(options.model, options.revision)
    if located.source == "directory" and located.state == "not-a-directory":
        raise UsageError(
            "not-a-directory",
            f"{options.model} is not a directory.",
            why="A model is a directory with config.json and weights, or a repository id such as org/name.",
            next_step="Give the directory that holds config.json.",
        )
    return located


def _examine(context: Context, process: PatientProcess | None) -> tuple[RuleBase, Course]:
    from mlx_diagnose.engine.rulebase import load_rules
    from mlx_diagnose.engine.rulebase.sources import default_sources

    run = LoadRun()
    reader = threading.Thread(target=lambda: run.take(process.messages()) if process else None, daemon=True)
    reader.start()
    with context.ledger.timed("rules"):
        rules = load_rules(default_sources(context.options.rule_dirs, context.options.plugins), with_cases=False)
    located = context.located
    examination = Examination(located, located.directory, WorkingMemory(), context.ledger)
    # The patient has said by now which release it has; if not, today's is assumed.
    examination.look_at_files(run.version)
    if process is None:
        run = _unstarted(context, examination)
    else:
        examination.read_imports(run)
        reader.join()
        if examination.needs is None:  # the patient had not yet said where its mlx-audio is
            examination.read_imports(run)
    remote = context.remote
    if context.beside is not None and process is not None:
        run = context.beside.complete(run, process)
    if remote is not None:
        if process is not None:
            run = remote.load_further(run, process)
        context.ledger.run("hub_facts", lambda: remote.assert_facts(examination.memory))
    if process is not None and process.ending is not None and process.ending.outcome == "not-python":
        raise not_python(context.interpreter, process.ending.detail or "")
    return rules, follow(context, rules, examination, run, process)


def _unstarted(context: Context, examination: Examination) -> LoadRun:
    """What a patient that is not started would have said of itself."""
    from mlx_diagnose.collectors import static_patient
    from mlx_diagnose.collectors.loader_source import describe_loader

    hello = greeting(context.interpreter)
    found = static_patient.mlx_audio(hello, context.options.category, examination.config, context.located.name)
    folder = found["directory"]
    loader = describe_loader(Path(folder), found["category"]) if folder is not None else None
    return LoadRun(hello=hello, mlx_audio=found, loader=loader)


def _report(context: Context, rules: RuleBase, course: Course) -> Report:
    remote = context.remote
    asked = remote or context.beside
    episodes = course.episodes
    first = episodes[0]
    facts = [fact for episode in episodes for fact in episode.facts]
    found = with_exact_commands(
        [finding for episode in episodes for finding in episode.findings], context.interpreter.executable
    )
    failed = next((stage.name for stage in first.stages if stage.status == "failed"), None)
    explained = failed is None or any(finding.severity == "error" for finding in found)
    nearest = [] if explained or failed is None else nearest_rules(rules.rules, facts, failed)
    findings = fold(found, first.stages, facts=facts, nearest=nearest)
    hello = first.run.hello or {}
    memory = first.examination.memory
    resolution = memory.one("resolution")
    config = first.examination.config or {}
    declared = config.get("model_type") or config.get("architecture")
    located = context.located
    packages = {
        str(fact["name"]): str(fact["version"])
        for fact in memory.of("package", installed=True)
        if fact["version"] is not None
    }
    return Report(
        run_id=runs.new_id(),
        saved_at=None,
        tool_version=__version__,
        target=Target(
            model=located.model,
            source=located.source,
            path=str(located.directory) if located.directory and located.cache is None else None,
            category=first.run.category,
            family=str(resolution["resolved"]) if resolution is not None and resolution["family_exists"] else None,
            model_type=declared if isinstance(declared, str) else None,
            revision=context.options.revision or (remote.commit if remote is not None else None),
        ),
        patient=Patient(
            executable=context.interpreter.executable,
            chosen_because=context.interpreter.because,
            python=hello.get("python"),
            platform=f"{hello['system']} {hello['machine']}" if hello else None,
            packages=packages,
        ),
        verdict=verdict(first.stages, findings),
        stages=first.stages,
        findings=findings,
        facts=facts,
        collectors=context.ledger.outcomes,
        timings={},
        network=dict(asked.network) if asked is not None else {"requests": 0, "bytes": 0},
        mends=course.mends,
    )
