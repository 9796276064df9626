from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.diagnosis import NearRule, fold, loaded, verdict
from mlx_diagnose.engine.model import (
    SEVERITIES,
    STAGES,
    ExceptionRecord,
    Explains,
    Fact,
    Finding,
    Fix,
    Provenance,
    StageResult,
    Subject,
    stage_index,
)


def finding(
    id: str, failure_class: str = "config/missing-key", *, subjects: Sequence[str] = (), **fields: Any
) -> Finding:
    given: dict[str, Any] = {
        "rule": f"rule-{id}",
        "severity": "error",
        "confidence": 0.9,
        "stage": "construct",
        "title": f"title {id}",
        "cause": f"cause {id}",
        "subjects": tuple(Subject("config_key", name) for name in subjects),
    }
    return Finding(id=id, failure_class=failure_class, **(given | fields))


def claims(*pairs: tuple[str, str | None]) -> tuple[Explains, ...]:
    return tuple(Explains(failure_class, subject) for failure_class, subject in pairs)


def stages(failed: str | None = None, status: str = "failed") -> list[StageResult]:
    """All ten stages: passed up to ``failed``, which has ``status``, and not reached behind it."""
    at = stage_index(failed)
    return [
        StageResult(
            name,
            "passed" if position < at else status if position == at else "not-reached",  # type: ignore[arg-type]
            0.1,
            exception=ExceptionRecord("ValueError", "it broke", "model.py", 12) if position == at else None,
        )
        for position, name in enumerate(STAGES)
    ]


def by_title(findings: Sequence[Finding], id: str) -> Finding:
    return next(found for found in findings if found.title == f"title {id}")


# -- folding -------------------------------------------------------------------------------------


def test_a_symptom_folds_under_its_root() -> None:
    folded = fold(
        [
            finding("b", "weights/shape", stage="load", subjects=["decoder.weight"]),
            finding("a", claims=claims(("weights/*", None))),
        ],
        stages("load"),
    )
    assert [(found.title, found.id, found.root, found.explains) for found in folded] == [
        ("title a", "f1", True, ("f2",)),
        ("title b", "f2", False, ()),
    ]


def test_a_claim_of_one_subject_leaves_the_others() -> None:
    folded = fold(
        [
            finding("a", claims=claims(("weights/shape", "decoder.layers.{0..3}"))),
            finding("b", "weights/shape", stage="load", subjects=["decoder.layers.2.weight"]),
            finding("c", "weights/shape", stage="load", subjects=["decoder.layers.4.weight"]),
        ],
        stages("load"),
    )
    assert not by_title(folded, "b").root
    assert by_title(folded, "c").root


def test_a_claim_needs_the_class() -> None:
    folded = fold(
        [finding("a", claims=claims(("weights/shape", None))), finding("b", "weights/dtype", stage="load")],
        stages("load"),
    )
    assert all(found.root for found in folded)


def test_a_cause_explains_nothing_that_came_before_it() -> None:
    folded = fold(
        [finding("a", stage="load", claims=claims(("config/*", None))), finding("b", stage="config")], stages("load")
    )
    assert all(found.root for found in folded)


def test_the_import_that_failed_explains_the_type_that_is_not_supported() -> None:
    folded = fold(
        [
            finding(
                "a", "dependency/missing-module", stage="import", claims=claims(("architecture/unsupported", None))
            ),
            finding("b", "architecture/unsupported", stage="architecture"),
        ],
        stages("architecture"),
    )
    assert by_title(folded, "a").root
    assert not by_title(folded, "b").root


def test_a_cause_without_a_stage_may_explain_every_stage() -> None:
    folded = fold(
        [
            finding("a", "dependency/version-conflict", stage=None, claims=claims(("hub/*", None))),
            finding("b", "hub/not-found", stage="resolve"),
        ],
        stages("resolve"),
    )
    assert [found.title for found in folded if found.root] == ["title a"]


def test_explanations_reach_through_a_chain_and_a_symptom_may_have_two_roots() -> None:
    folded = fold(
        [
            finding("a", stage="config", claims=claims(("weights/shape", None))),
            finding("b", "config/unknown-key", stage="config", claims=claims(("weights/shape", None))),
            finding("c", "weights/shape", stage="sanitize", claims=claims(("weights/dtype", None))),
            finding("d", "weights/dtype", stage="load"),
        ],
        stages("load"),
    )
    c, d = by_title(folded, "c"), by_title(folded, "d")
    assert by_title(folded, "a").explains == by_title(folded, "b").explains == (c.id, d.id)
    assert c.explains == (d.id,)
    assert not c.root
    assert not d.root


def test_a_cycle_is_broken_at_its_earliest_then_most_confident_finding() -> None:
    round_trip = [
        finding("a", "config/missing-key", confidence=0.5, claims=claims(("config/unknown-key", None))),
        finding("b", "config/unknown-key", confidence=0.7, claims=claims(("config/wrong-type", None))),
        finding("c", "config/wrong-type", confidence=0.9, claims=claims(("config/missing-key", None))),
    ]
    folded = fold(round_trip, stages("construct"))
    assert [found.title for found in folded if found.root] == ["title c"]
    assert by_title(folded, "c").explains == (by_title(folded, "b").id, by_title(folded, "a").id)

    # Architecture and import are one step, so this is a cycle, and the surer one is the cause.
    folded = fold(
        [
            finding(
                "x", "architecture/unsupported", stage="import", confidence=0.2, claims=claims(("dependency/*", None))
            ),
            finding("y", "dependency/packaging", stage="architecture", claims=claims(("architecture/*", None))),
        ],
        stages("architecture"),
    )
    assert [found.title for found in folded if found.root] == ["title y"]


def test_findings_of_one_rule_are_peers() -> None:
    folded = fold(
        [finding(id, rule="same", claims=claims(("config/*", None)), subjects=[id]) for id in "abc"],
        stages("construct"),
    )
    assert all(found.root for found in folded)


def test_what_is_seen_after_a_mend_is_not_a_symptom_of_what_was_mended() -> None:
    fix = Fix("x1", "config-patch", "add it", "verified")
    folded = fold(
        [
            finding("a", fixes=(fix,), claims=claims(("weights/*", None))),
            finding("b", "weights/shape", stage="load", observed_after=("x1",)),
        ],
        stages("construct"),
    )
    assert all(found.root for found in folded)


def test_what_is_seen_after_a_mend_explains_nothing_that_was_seen_before() -> None:
    late = finding("a", observed_after=("x1",), claims=claims(("weights/*", None)))
    early = finding("b", "weights/shape", stage="load")
    assert all(found.root for found in fold([late, early], stages("construct")))
    both = [late, replace(early, observed_after=("x1",))]
    assert not by_title(fold(both, stages("construct")), "b").root


def test_order_is_root_severity_stage_confidence_id() -> None:
    folded = fold(
        [
            finding("warning", severity="warning", stage="resolve", claims=claims(("weights/*", None))),
            finding("symptom", "weights/shape", stage="load"),
            finding("late", stage="load"),
            finding("f10"),
            finding("f2"),
            finding("sure", confidence=1.0),
            finding("early", stage="config", confidence=0.1),
        ],
        stages("load"),
    )
    assert [found.title.removeprefix("title ") for found in folded] == [
        "early",
        "sure",
        "f2",
        "f10",
        "late",
        "warning",
        "symptom",
    ]
    assert [found.id for found in folded] == [f"f{number}" for number in range(1, 8)]


def test_an_error_in_a_model_that_loads_is_a_warning() -> None:
    folded = fold([finding("a"), finding("b", severity="info")], stages())
    assert [found.severity for found in folded] == ["warning", "info"]


# -- the unknown ---------------------------------------------------------------------------------


def test_a_failure_that_nothing_explains_is_named_unknown() -> None:
    exception = Fact("exception", "exception-1", {"role": "raised", "stage": "load"}, Provenance("load"))
    other = Fact("exception", "exception-2", {"role": "swallowed", "stage": "load"}, Provenance("load"))
    findings = fold(
        [finding("a", severity="warning")],
        stages("load"),
        facts=[exception, other],
        nearest=[NearRule("weights-layout", "a tensor_layout fact")],
    )
    unknown = findings[0]
    assert (unknown.rule, unknown.failure_class, unknown.severity) == ("unknown-failure", "unknown", "error")
    assert (unknown.stage, unknown.confidence, unknown.evidence) == ("load", 0.0, ("exception-1",))
    assert "raised ValueError: it broke." in unknown.cause
    assert "weights-layout (lacked: a tensor_layout fact)" in unknown.cause
    assert verdict(stages("load"), findings) == "inconclusive"


def test_an_error_of_a_later_stage_does_not_account_for_a_failure() -> None:
    findings = fold([finding("a", stage="load")], stages("construct"))
    assert [found.failure_class for found in findings] == ["unknown", "config/missing-key"]
    assert verdict(stages("construct"), findings) == "inconclusive"


def test_a_long_message_does_not_flood_the_cause() -> None:
    broken = [replace(stage, exception=ExceptionRecord("ValueError", "x\n" * 5000)) for stage in stages("load")]
    assert len(fold([], broken)[0].cause) < 500


# -- the verdict ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "findings", "expected"),
    [
        (stages(), [], "loads"),
        (stages(), [finding("a", severity="info")], "loads"),
        (stages(), [finding("a", severity="warning")], "loads-with-warnings"),
        (stages("load"), [finding("a")], "fails"),
        (stages("import"), [finding("a", stage="architecture")], "fails"),
        (stages("architecture"), [finding("a", stage="import")], "fails"),
        (stages("load"), [finding("a", severity="warning")], "inconclusive"),
        (stages("load"), [], "inconclusive"),
        (stages("import", "blocked"), [finding("a", severity="warning")], "inconclusive"),
        (stages("construct", "skipped"), [], "inconclusive"),
        (stages("construct", "skipped"), [finding("a")], "fails"),
        ([], [], "inconclusive"),
        ([], [finding("a", stage=None)], "fails"),
        (stages("resolve"), [finding("a", "hub/unavailable", stage="resolve")], "inconclusive"),
        (stages("resolve"), [finding("a", "hub/rate-limited", stage="resolve")], "inconclusive"),
        (stages("resolve"), [finding("a", "hub/gated", stage="resolve")], "fails"),
        (stages("weights"), [finding("a", "hub/unavailable", stage="resolve"), finding("b")], "fails"),
    ],
)
def test_verdict(results: list[StageResult], findings: list[Finding], expected: str) -> None:
    assert verdict(results, findings) == expected


def test_a_skipped_stage_does_not_keep_a_model_from_loading() -> None:
    results = [replace(stage, status="skipped") if stage.name == "quantize" else stage for stage in stages()]
    assert loaded(results)
    assert not loaded([replace(stage, status="skipped") for stage in stages()])
    looked_at = [replace(stage, status="passed" if stage_index(stage.name) < 3 else "skipped") for stage in stages()]
    assert not loaded(looked_at)


# -- properties ----------------------------------------------------------------------------------

_CLASSES = ["config/missing-key", "config/unknown-key", "weights/shape", "weights/missing", "code/init-error"]
_SUBJECTS = ["decoder", "decoder.size", "layers.{0..3}.weight", "layers.2.weight"]


@st.composite
def any_findings(draw: st.DrawFn) -> list[Finding]:
    explains = st.builds(
        Explains,
        st.sampled_from([*_CLASSES, "config/*", "weights/*", "code/*"]),
        st.none() | st.sampled_from(_SUBJECTS),
    )
    return [
        Finding(
            id=draw(st.sampled_from(["f1", "f2", "f10", f"n{number}"])),
            rule=draw(st.sampled_from(["r1", "r2", "r3", f"r-{number}"])),
            failure_class=draw(st.sampled_from(_CLASSES)),
            severity=draw(st.sampled_from(SEVERITIES)),
            confidence=draw(st.sampled_from([0.0, 0.5, 1.0])),
            stage=draw(st.sampled_from([*STAGES, None])),
            title=f"title {number}",
            cause="",
            subjects=tuple(Subject("tensor", name) for name in draw(st.lists(st.sampled_from(_SUBJECTS), max_size=2))),
            claims=tuple(draw(st.lists(explains, max_size=2))),
        )
        for number in range(draw(st.integers(0, 8)))
    ]


any_stages = st.builds(stages, st.sampled_from([*STAGES, None]), st.sampled_from(["failed", "blocked", "skipped"]))


@given(any_findings(), any_stages)
def test_folding_keeps_every_finding_and_makes_a_forest_of_causes(
    findings: list[Finding], results: list[StageResult]
) -> None:
    folded = fold(findings, results)
    titles = Counter(found.title for found in folded)
    added = titles.pop("A failure that no rule explains", 0)
    assert titles == Counter(found.title for found in findings)
    assert added <= 1

    assert [found.id for found in folded] == [f"f{number}" for number in range(1, len(folded) + 1)]
    by_id = {found.id: found for found in folded}
    assert bool(folded) == any(found.root for found in folded)
    for found in folded:
        assert found.id not in found.explains, "acyclic"
        for symptom in found.explains:
            assert not by_id[symptom].root
            assert set(by_id[symptom].explains) < set(found.explains), "transitively closed, hence acyclic"
    explained = {symptom for found in folded if found.root for symptom in found.explains}
    assert explained == {found.id for found in folded if not found.root}, "every symptom has a root above it"


@given(any_findings(), any_stages)
def test_folding_again_changes_nothing(findings: list[Finding], results: list[StageResult]) -> None:
    folded = fold(findings, results)
    again = fold(folded, results)
    assert [(found.title, found.root, found.explains) for found in again] == [
        (found.title, found.root, found.explains) for found in folded
    ]


@given(any_findings(), any_stages)
def test_the_verdict_agrees_with_stages_and_findings(findings: list[Finding], results: list[StageResult]) -> None:
    folded = fold(findings, results)
    result = verdict(results, folded)
    severities = {found.severity for found in folded}
    assert (result in {"loads", "loads-with-warnings"}) == loaded(results)
    assert not (loaded(results) and "error" in severities)
    assert (result == "loads-with-warnings") == (loaded(results) and "warning" in severities)
    if result == "fails":
        assert "error" in severities
    if any(found.failure_class == "unknown" for found in folded):
        assert result == "inconclusive"
