from __future__ import annotations

from mlx_diagnose.engine.diagnosis import fold
from mlx_diagnose.engine.followup import Episode, _settled
from mlx_diagnose.engine.model import Explains, Finding, StageResult, Subject


def finding(rule: str, failure_class: str, stage: str, subject: str, **fields: object) -> Finding:
    return Finding(
        id=rule,
        rule=rule,
        failure_class=failure_class,
        severity="error",
        confidence=0.9,
        stage=stage,
        title=rule,
        cause=rule,
        subjects=(Subject("module", subject),),
        **fields,  # type: ignore[arg-type]
    )


def test_a_missing_metal_explains_what_showed_with_it_and_nothing_of_what_is_behind_it() -> None:
    metal = finding("metal", "dependency/backend", "import", "mlx", claims=(Explains("code/*"),))
    beside = finding("beside", "code/import-time-network", "import", "a-repository")
    behind = finding("behind", "code/init-error", "construct", "ModelConfig")
    stages = [StageResult("import", "passed"), StageResult("construct", "failed")]
    settled = _settled(
        [
            Episode(None, None, [StageResult("import", "failed")], [metal, beside], []),  # type: ignore[arg-type]
            Episode(None, None, stages, [behind], []),  # type: ignore[arg-type]
        ],
        shimmed_at=0,
    )
    folded = fold([found for episode in settled for found in episode.findings], settled[0].stages)
    roots = {found.rule: found.root for found in folded}
    assert roots == {"behind": True, "metal": True, "beside": False}
    assert next(found for found in folded if found.rule == "metal").severity == "warning"
