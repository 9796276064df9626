"""Running the cases that stand in a rule file: does the rule fire where it must, and only there?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlx_diagnose.engine.inference.run import Inference, infer
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.engine.rulebase.loader import rule_base
from mlx_diagnose.engine.rulebase.rule import Case, CaseFact, Rule


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went on one engine. ``failures`` is empty when it passed."""

    rule: str
    case: Case
    engine: str
    failures: tuple[str, ...]
    inference: Inference

    @property
    def passed(self) -> bool:
        return not self.failures


def case_memory(case: Case) -> WorkingMemory:
    """The facts of a case as a working memory."""
    memory = WorkingMemory()
    for fact in case.facts:
        memory.add(fact.kind, Provenance("case"), **fact.fields)
    return memory


def run_cases(rule: Rule, engines: tuple[str, ...]) -> Iterator[CaseResult]:
    """Every case of ``rule`` on every engine, the rule running alone."""
    alone = rule_base([rule])
    for case in rule.cases:
        for engine in engines:
            inference = infer(alone, case_memory(case), engine=engine)
            yield CaseResult(rule.id, case, engine, tuple(_failures(rule, case, inference)), inference)


def _failures(rule: Rule, case: Case, inference: Inference) -> Iterator[str]:
    yield from inference.notes
    if not case.fires:
        if inference.activations:
            said = "; ".join(finding.cause for finding in inference.findings)
            yield f"it must stay silent, and it fired{f': {said}' if said else ''}"
        return
    if not inference.activations:
        yield "it must fire, and it stayed silent"
        return
    expect, findings = case.expect, inference.findings
    if expect.findings is not None and len(findings) != expect.findings:
        yield f"expected {expect.findings} findings, got {len(findings)}"
    if expect.subjects is not None:
        got = sorted({subject.name for finding in findings for subject in finding.subjects})
        if got != sorted(set(expect.subjects)):
            yield f"expected subjects {sorted(set(expect.subjects))}, got {got}"
    for text in expect.cause_contains:
        if not any(text in finding.cause for finding in findings):
            yield f"expected a cause with {text!r}, got {[finding.cause for finding in findings]}"
    for text in expect.title_contains:
        if not any(text in finding.title for finding in findings):
            yield f"expected a title with {text!r}, got {[finding.title for finding in findings]}"
    if expect.fixes is not None:
        fixes = [fix.title for finding in findings for fix in finding.fixes]
        if len(fixes) != expect.fixes:
            yield f"expected {expect.fixes} fixes, got {len(fixes)}{f': {fixes}' if fixes else ''}"
    if expect.stage is not None and any(finding.stage != expect.stage for finding in findings):
        yield f"expected stage {expect.stage!r}, got {sorted({str(finding.stage) for finding in findings})}"
    for fact in expect.facts:
        if not inference.memory.of(fact.kind, **fact.fields):
            yield f"expected the fact {_shown(fact)} to be derived, and it was not"


def _shown(fact: CaseFact) -> str:
    return f"{fact.kind}({', '.join(f'{name}: {value!r}' for name, value in fact.fields.items())})"
