"""A traceback that somebody pasted, classified without the model: the pipeline of ``diagnose --traceback``.

The same rules as for a load fire over what the text tells (``collectors.traceback_facts``); the
report says besides what would tell more, and which known defects of releases show like this.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_diagnose import __version__
from mlx_diagnose.collectors import traceback_facts
from mlx_diagnose.collectors.traceback_facts import UNNAMED, Reading
from mlx_diagnose.collectors.traceback_text import CUT_OFF, Pasted, parse
from mlx_diagnose.engine import runs
from mlx_diagnose.engine.diagnosis import UNKNOWN_RULE, fold, verdict
from mlx_diagnose.engine.examination import Ledger, Skipped
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import (
    STAGES,
    ExceptionRecord,
    Fact,
    Finding,
    Need,
    Patient,
    Report,
    StageResult,
    StageStatus,
    Target,
    stage_index,
)
from mlx_diagnose.engine.nearest import nearest_rules
from mlx_diagnose.engine.needs import needs
from mlx_diagnose.engine.rulebase.failure_classes import UNKNOWN

if TYPE_CHECKING:
    from mlx_diagnose.engine.rulebase import RuleBase

#: What a text cannot hold, and a diagnosis of a model looks at.
_NOT_IN_A_TEXT = ("config", "checkpoint", "environment", "load")
#: Lines of the text that the report keeps, for ``-v``.
_LINES_KEPT = 400


def classify(
    text: str,
    *,
    category: str | None = None,
    engine: str | None = None,
    rule_dirs: Sequence[Path] = (),
    plugins: bool = True,
) -> Report:
    """What the rules conclude from ``text``. The verdict is ``fails`` with a finding, else ``inconclusive``.

    Raises RuleError for rules that do not read, UsageError for an engine that is not here.
    """
    started = time.perf_counter()
    ledger, memory = Ledger(), WorkingMemory()
    with ledger.timed("rules"):
        rules = _rules(rule_dirs, plugins)
    with ledger.timed("traceback"):
        pasted = parse(text)
        reading = traceback_facts.read(pasted, category)
        if not pasted.tells_nothing:
            traceback_facts.collect(memory, pasted, reading)
    for name in _NOT_IN_A_TEXT:
        ledger.run(name, _skip)
    findings, facts = _infer(rules, memory, reading, engine, ledger)
    stages = _stages(pasted, reading)
    findings = _folded(findings, facts, stages, rules, pasted, reading)
    model = reading.model
    return Report(
        run_id=runs.new_id(),
        saved_at=None,
        tool_version=__version__,
        target=Target(
            model=model.name or UNNAMED,
            source="hub" if model.is_hub_id else "directory",
            path=None,
            category=model.category,
            family=model.family,
            model_type=model.declared,
        ),
        patient=Patient(
            executable=UNNAMED,
            chosen_because="a traceback was given; it tells no more",
            python=reading.told.python,
            platform=reading.told.system,
            packages=reading.told.packages,
        ),
        verdict=verdict(stages, findings),
        stages=stages,
        findings=findings,
        facts=facts,
        collectors=ledger.outcomes,
        timings={"total": round(time.perf_counter() - started, 6)},
        needs=[] if pasted.tells_nothing else _needs(rules, facts, findings, pasted, reading),
    )


def _rules(rule_dirs: Sequence[Path], plugins: bool) -> RuleBase:
    from mlx_diagnose.engine.rulebase import load_rules
    from mlx_diagnose.engine.rulebase.sources import default_sources

    return load_rules(default_sources(tuple(rule_dirs), plugins))


def _skip() -> None:
    raise Skipped("a text was given, not the model")


def _infer(
    rules: RuleBase, memory: WorkingMemory, reading: Reading, engine: str | None, ledger: Ledger
) -> tuple[Sequence[Finding], Sequence[Fact]]:
    from mlx_diagnose.engine.inference import infer

    with ledger.timed("inference"):
        inference = infer(
            rules,
            memory,
            engine=engine,
            category=reading.model.category,
            family=reading.model.family,
            mlx_audio=reading.told.packages.get("mlx-audio"),
        )
    return inference.findings, inference.facts


def _needs(
    rules: RuleBase, facts: Sequence[Fact], findings: Sequence[Finding], pasted: Pasted, reading: Reading
) -> Sequence[Need]:
    raised = pasted.raised
    return needs(
        rules.rules,
        facts,
        findings,
        reading.stage,
        cut=raised is not None and (raised.type == CUT_OFF or not raised.frames),
    )


# -- stages --------------------------------------------------------------------------------------


def _stages(pasted: Pasted, reading: Reading) -> list[StageResult]:
    """Failed is the stage that the text tells, passed what it proves; of the others those before are skipped."""
    return [
        StageResult(name, _status(name, reading), exception=_record(pasted) if name == reading.stage else None)
        for name in STAGES
    ]


def _status(name: str, reading: Reading) -> StageStatus:
    if name == reading.stage:
        return "failed"
    if name in reading.passed:
        return "passed"
    known = reading.stage is not None and stage_index(name) > stage_index(reading.stage)
    return "not-reached" if known else "skipped"


def _record(pasted: Pasted) -> ExceptionRecord | None:
    raised = pasted.raised
    if raised is None:
        return None
    frame = raised.innermost
    return ExceptionRecord(
        type=raised.type,
        message=raised.message,
        file=frame.file if frame else None,
        line=frame.line if frame else None,
        function=(frame.function or None) if frame else None,
        traceback="\n".join(pasted.lines[-_LINES_KEPT:]),
    )


# -- findings ------------------------------------------------------------------------------------


def _folded(
    findings: Sequence[Finding],
    facts: Sequence[Fact],
    stages: Sequence[StageResult],
    rules: RuleBase,
    pasted: Pasted,
    reading: Reading,
) -> list[Finding]:
    known = list(findings)
    explained = any(found.severity == "error" for found in known)
    if not explained and reading.stage is None:
        known.append(_unknown(pasted, facts))
    near = [] if explained or reading.stage is None else nearest_rules(rules.rules, facts, reading.stage)
    return fold(known, stages, facts=facts, nearest=near)


def _unknown(pasted: Pasted, facts: Sequence[Fact]) -> Finding:
    """The finding of a text that belongs to no stage, or that tells of no failure."""
    raised = pasted.raised
    if pasted.tells_nothing:
        title = "There is no traceback in the text"
        cause = "Neither a traceback, nor the last line of one, nor an installer's complaint was recognised in it."
    else:
        title = "A failure that no rule explains"
        said = (
            f"{raised.type}: {' '.join(raised.message.split())[:300]}".rstrip(": ") if raised else "It is no exception"
        )
        cause = f"{said}. The text does not tell at which stage of loading this happened, and no rule explains it."
    return Finding(
        id="unknown",
        rule=UNKNOWN_RULE,
        failure_class=UNKNOWN,
        severity="error",
        confidence=0.0,
        stage=None,
        title=title,
        cause=cause,
        evidence=tuple(fact.id for fact in facts if fact.kind == "exception" and fact["role"] == "raised"),
    )
