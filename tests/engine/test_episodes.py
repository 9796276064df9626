from __future__ import annotations

from types import SimpleNamespace

from mlx_diagnose.engine.diagnosis import fold
from mlx_diagnose.engine.episodes import Episode, overtaken, settled
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Explains, Finding, Provenance, StageResult, Subject


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
    shown = settled(
        [
            Episode(None, None, [StageResult("import", "failed")], [metal, beside], []),  # type: ignore[arg-type]
            Episode(None, None, stages, [behind], []),  # type: ignore[arg-type]
        ],
        shimmed_at=0,
    )
    folded = fold([found for episode in shown for found in episode.findings], shown[0].stages)
    roots = {found.rule: found.root for found in folded}
    assert roots == {"behind": True, "metal": True, "beside": False}
    assert next(found for found in folded if found.rule == "metal").severity == "warning"


def _companions(**ahead: bool) -> WorkingMemory:
    memory = WorkingMemory()
    for name, foretold in ahead.items():
        memory.add(
            "companion",
            Provenance("test"),
            what="repo",
            name=name,
            ahead=foretold,
            stage="post_load",
            file="family.py",
            found_by="static",
            state="not-cached",
            **dict.fromkeys(("defaulted", "tested", "swallowed", "offline_by_us", "broke"), False),
        )
    return memory


def test_what_was_foretold_of_a_companion_gives_way_to_the_load_that_came_to_it() -> None:
    before, after = _companions(met=True, never=True), _companions(met=False, never=True)
    foretold = [
        finding(
            f"{fact['name']}-ahead", "hub/companion-unavailable", "post_load", str(fact["name"]), evidence=(fact.id,)
        )
        for fact in before.of("companion")
    ]
    other = finding("metal", "dependency/backend", "import", "mlx")
    episode = Episode(None, None, [], [*foretold, other], before.of("companion"))  # type: ignore[arg-type]
    (left,) = overtaken([episode], SimpleNamespace(memory=after))  # type: ignore[arg-type]
    assert [found.rule for found in left.findings] == ["never-ahead", "metal"]
