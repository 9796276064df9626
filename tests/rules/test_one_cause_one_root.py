"""All rules together, on facts as real loads give them: one cause, one root, its symptoms folded under it.

The facts stand in scenarios.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_diagnose.engine.diagnosis import fold
from mlx_diagnose.engine.inference.run import infer
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import STAGES, Finding, Provenance, StageResult, StageStatus
from mlx_diagnose.engine.rulebase import load_rules
from mlx_diagnose.engine.rulebase.sources import builtin_source
from mlx_diagnose.engine.vocabulary import VOCABULARY

RULES = load_rules([builtin_source()])
DOCUMENT = yaml.safe_load(Path(__file__).with_name("scenarios.yaml").read_text(encoding="utf-8"))
SCENARIOS = {scenario["name"]: scenario for scenario in DOCUMENT["scenarios"]}

_EMPTY = {"str": "", "int": 0, "float": 0.0, "bool": False}

Given = Mapping[str, Mapping[str, Any]]


def stages(failed: str | None) -> list[StageResult]:
    results = []
    for at, name in enumerate(STAGES):
        status: StageStatus = "passed"
        if failed is not None and at >= STAGES.index(failed):
            status = "failed" if name == failed else "not-reached"
        results.append(StageResult(name, status, 0.0))
    return results


def diagnose(failed: str | None, given: Iterable[Given], without: Iterable[str] = ()) -> list[Finding]:
    """Findings of all rules on a load that ``failed`` at a stage (None: it loads), of which ``given`` is known."""
    memory = WorkingMemory()
    results = stages(failed)
    common = [fact for fact in DOCUMENT["common"] if not set(fact) & set(without)]
    passed = [{"stage": {"name": result.name, "status": result.status}} for result in results]
    for fact in (*common, *given, *passed):
        ((kind, fields),) = fact.items()
        declared = VOCABULARY[kind].fields
        empty = {name: _EMPTY[field.type] for name, field in declared.items() if not field.nullable}
        memory.add(kind, Provenance("test"), **{**empty, **fields})
    return fold(infer(RULES, memory).findings, results, facts=tuple(memory))


def classes(findings: Iterable[Finding], *, root: bool) -> list[str]:
    return sorted({found.failure_class for found in findings if found.root is root})


@pytest.mark.parametrize("name", SCENARIOS)
def test_one_cause_gives_one_root(name: str) -> None:
    scenario = SCENARIOS[name]
    findings = diagnose(scenario["failed"], scenario["facts"], scenario.get("without", ()))
    assert classes(findings, root=True) == scenario["roots"]
    assert len([found for found in findings if found.root]) == 1
    assert sorted(set(classes(findings, root=False)) - set(scenario["roots"])) == scenario["folded"]


def test_there_are_scenarios_of_every_area() -> None:
    areas = {root.partition("/")[0] for scenario in SCENARIOS.values() for root in scenario["roots"]}
    assert areas >= {"architecture", "config", "dependency", "hub", "quantization", "weights"}


def test_a_healthy_model_has_no_finding() -> None:
    harmless: list[Given] = [
        {
            "unknown_key": {
                "path": "dropout_rate",
                "name": "dropout_rate",
                "class_name": "ModelConfig",
                "effect": "dropped",
            }
        },
        {"reach": {"stage": "post_load", "what": "hub", "target": "org/codec", "outcome": "found"}},
        {"missing_module": {"stage": "import", "module": "x", "top": "x", "swallowed": True, "kind_of": "dependency"}},
        {"output": {"stream": "stderr", "level": "warning", "text": "x is deprecated and will be removed"}},
    ]
    assert diagnose(None, harmless) == []


def test_two_causes_give_two_roots() -> None:
    truncated = {"file": "model.safetensors", "format": "safetensors", "state": "truncated", "read_by_loader": True}
    soxr = {"stage": "import", "module": "soxr", "top": "soxr", "package": "soxr", "kind_of": "dependency"}
    findings = diagnose("import", [{"weights_file": truncated}, {"missing_module": {**soxr, "declared": False}}])
    assert classes(findings, root=True) == ["dependency/missing-module", "weights/corrupt"]


def test_a_failure_that_no_rule_knows_stays_unknown() -> None:
    division = {"stage": "construct", "role": "raised", "type": "ZeroDivisionError", "message": "division by zero"}
    findings = diagnose("construct", [{"exception": division}])
    assert [(found.failure_class, found.root) for found in findings] == [("unknown", True)]


def test_a_silent_load_is_warned_of() -> None:
    said = {"stream": "stdout", "level": "warning", "text": "Warning: Could not load speech tokenizer: 'x'"}
    findings = diagnose(None, [{"output": said}])
    assert [(found.failure_class, found.severity) for found in findings] == [("component/swallowed-failure", "warning")]
