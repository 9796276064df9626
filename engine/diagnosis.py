"""From what rules concluded to what is wrong: root causes, folded symptoms, a verdict.

A rule says what its finding *claims* to explain (failure classes, maybe of one subject).
Claims are resolved here, after inference, as edges of a graph from cause to symptom:

- a cause explains only what shows at its own stage or later; resolving a model type and
  importing its module are one step of mlx-audio's loader, hence one stage here;
- two findings of one class that each name a key are two causes;
- findings of one rule are peers, and never explain each other;
- what is seen only after a cause was mended is not its symptom, nor the cause of what was seen before;
- a cycle is broken where it is weakest: its earliest, then most confident finding is the cause.

The graph is then acyclic, so every symptom has a root above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlx_diagnose.engine.model import (
    SEVERITIES,
    ExceptionRecord,
    Explains,
    Fact,
    Finding,
    StageResult,
    Verdict,
    is_cut_off,
    stage_index,
)
from mlx_diagnose.engine.rulebase import failure_classes
from mlx_diagnose.engine.subjects import covers

#: The rule id of a failure that no rule explains.
UNKNOWN_RULE = "unknown-failure"

#: A model is loaded only if one of these ran: looking at files passes earlier stages as well.
_LOADING = frozenset({"construct", "load", "post_load"})
_UNFINISHED = frozenset({"failed", "blocked", "not-reached"})

#: Characters of an exception's message that a cause repeats; the stage holds it whole.
_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class NearRule:
    """A rule that almost fired: its id, and the fact it lacked, in words."""

    rule: str
    lacked: str


def fold(
    findings: Iterable[Finding],
    stages: Sequence[StageResult],
    *,
    facts: Iterable[Fact] = (),
    nearest: Sequence[NearRule] = (),
) -> list[Finding]:
    """``findings`` in the order of the report, roots over symptoms, ids ``f1``, ``f2``, ...

    None is lost. A failed stage that no error accounts for adds one ``unknown`` finding,
    whose evidence is the raised exception among ``facts`` and whose cause names ``nearest``.
    An error in a model that loads becomes a warning: the loader has shown otherwise.
    """
    known = list(findings)
    if loaded(stages):
        known = [replace(found, severity="warning") if found.severity == "error" else found for found in known]
    unexplained = _unexplained(stages, known)
    if unexplained is not None:
        known.append(_unknown(unexplained, facts, nearest))
    effects = _acyclic(_claimed(known), [_rank(found) for found in known])
    symptoms = {effect for reached in effects.values() for effect in reached}
    order = sorted(range(len(known)), key=lambda at: _position(known[at], at not in symptoms, at))
    ids = {at: f"f{number}" for number, at in enumerate(order, start=1)}
    return [
        replace(
            known[at],
            id=ids[at],
            root=at not in symptoms,
            explains=tuple(ids[effect] for effect in order if effect in _reached(at, effects)),
        )
        for at in order
    ]


def verdict(stages: Sequence[StageResult], findings: Sequence[Finding]) -> Verdict:
    """What the stages and the folded ``findings`` come to.

    ``inconclusive`` is a failure that nothing explains, and a model that was not run to the
    end without an error of its own having been found (files only, a companion or the hub out of reach).
    """
    if loaded(stages):
        return "loads-with-warnings" if any(found.severity == "warning" for found in findings) else "loads"
    if (
        any(found.failure_class == failure_classes.UNKNOWN for found in findings)
        or _unexplained(stages, findings) is not None
    ):
        return "inconclusive"
    failed = any(found.severity == "error" for found in findings) and not is_cut_off(findings)
    return "fails" if failed else "inconclusive"


def loaded(stages: Sequence[StageResult]) -> bool:
    """Whether the patient's own loader ran to its end."""
    return any(stage.status == "passed" and stage.name in _LOADING for stage in stages) and not any(
        stage.status in _UNFINISHED for stage in stages
    )


def _unexplained(stages: Sequence[StageResult], findings: Iterable[Finding]) -> StageResult | None:
    """The failed stage that no error of that stage or an earlier one accounts for."""
    errors = [_cause_rank(found.stage) for found in findings if found.severity == "error"]
    for stage in stages:
        if stage.status == "failed" and not any(rank <= _stage_rank(stage.name) for rank in errors):
            return stage
    return None


def _unknown(stage: StageResult, facts: Iterable[Fact], nearest: Sequence[NearRule]) -> Finding:
    sentences = [f"The {stage.name} stage {_raised(stage.exception)}", "No rule explains it."]
    if nearest:
        near = "; ".join(f"{rule.rule} (lacked: {rule.lacked})" for rule in nearest)
        sentences.append(f"Nearest rules: {near}.")
    return Finding(
        id="unknown",
        rule=UNKNOWN_RULE,
        failure_class=failure_classes.UNKNOWN,
        severity="error",
        confidence=0.0,
        stage=stage.name,
        title="A failure that no rule explains",
        cause=" ".join(sentences),
        evidence=tuple(
            fact.id
            for fact in facts
            if fact.kind == "exception"
            and fact.fields.get("role") == "raised"
            and fact.fields.get("stage") == stage.name
        ),
    )


def _raised(exception: ExceptionRecord | None) -> str:
    if exception is None:
        return "failed without an exception."
    message = " ".join(exception.message.split())
    if len(message) > _MESSAGE:
        message = message[: _MESSAGE - 1] + "…"
    return f"raised {exception.type}: {message}".rstrip(".: ") + "."


# -- the graph of causes: from an index to the indices of what it explains ----------------------


def _claimed(findings: Sequence[Finding]) -> dict[int, set[int]]:
    return {
        at: {other for other, symptom in enumerate(findings) if _explains(cause, symptom)}
        for at, cause in enumerate(findings)
    }


def _explains(cause: Finding, symptom: Finding) -> bool:
    return (
        cause is not symptom
        and cause.rule != symptom.rule
        and not (cause.failure_class == symptom.failure_class and _keys(symptom))
        and _cause_rank(cause.stage) <= _stage_rank(symptom.stage)
        and not {fix.id for fix in cause.fixes} & set(symptom.observed_after)
        and set(cause.observed_after) <= set(symptom.observed_after)
        and any(_covered(claim, symptom) for claim in cause.claims)
    )


def _keys(finding: Finding) -> set[str]:
    """The config keys that a finding names."""
    return {subject.name for subject in finding.subjects if subject.kind == "config_key"}


def _covered(claim: Explains, symptom: Finding) -> bool:
    return failure_classes.covers(claim.failure_class, symptom.failure_class) and (
        claim.subject is None or any(covers(claim.subject, subject.name) for subject in symptom.subjects)
    )


def _acyclic(effects: Mapping[int, set[int]], ranks: Sequence[tuple[object, ...]]) -> dict[int, set[int]]:
    """``effects`` without the edges that lead back into the strongest finding of each cycle."""
    kept = {at: set(reached) for at, reached in effects.items()}
    while True:
        reach = {at: _reached(at, kept) for at in kept}
        cyclic = [at for at in kept if at in reach[at]]
        if not cyclic:
            return kept
        cause = min(cyclic, key=lambda at: ranks[at])
        for at in reach[cause]:
            if cause in reach[at]:
                kept[at].discard(cause)


def _reached(start: int, effects: Mapping[int, set[int]]) -> set[int]:
    """Everything under ``start``; ``start`` itself only if it lies on a cycle."""
    seen: set[int] = set()
    ahead = list(effects[start])
    while ahead:
        at = ahead.pop()
        if at not in seen:
            seen.add(at)
            ahead.extend(effects[at])
    return seen


# -- order ---------------------------------------------------------------------------------------


def _stage_rank(stage: str | None) -> int:
    """Loader order; the loader imports a family while it looks for it, so these two are one."""
    return stage_index("architecture" if stage == "import" else stage)


def _cause_rank(stage: str | None) -> int:
    """As :func:`_stage_rank`; what belongs to no stage (an environment, say) comes before all."""
    return -1 if stage is None else _stage_rank(stage)


def _rank(found: Finding) -> tuple[object, ...]:
    # What a finding says decides between equals, so that folding does not hang on the order it is given.
    subjects = tuple(subject.name for subject in found.subjects)
    return _cause_rank(found.stage), -found.confidence, found.failure_class, found.rule, subjects, found.title


def _position(found: Finding, root: bool, at: int) -> tuple[object, ...]:
    # Shorter ids first: f2 stands before f10.
    severity = SEVERITIES.index(found.severity)
    return not root, severity, stage_index(found.stage), -found.confidence, len(found.id), found.id, at
