"""The report for tools: the JSON that the published schema fixes, and reading it back.

The schema is ``knowledge_base/schemas/report.schema.json``. Beyond what it promises to
others, a report holds what ``why`` and ``why-not`` need (claims, activations, provenance),
so that a saved run can be asked about later and elsewhere.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from typing import Any

from mlx_diagnose.engine.model import (
    Activation,
    CollectorOutcome,
    ExceptionRecord,
    Explains,
    Fact,
    Finding,
    Fix,
    Need,
    Patient,
    Provenance,
    Report,
    StageResult,
    Subject,
    Target,
    Written,
    WrittenFile,
)
from mlx_diagnose.engine.report import sanitise
from mlx_diagnose.engine.report.view import View
from mlx_diagnose.engine.vocabulary import VOCABULARY

SCHEMA_VERSION = "1"

_FIXED_FACT_KEYS = frozenset({"id", "kind", "provenance"})


class InvalidReport(ValueError):
    """What was read is not a report of this schema version; the message says what is wrong with it."""


def render(report: Report, view: View) -> str:
    """``report`` as indented JSON in ASCII, ending in a line feed; ``view`` changes nothing."""
    del view
    return json.dumps(to_json(report), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def to_json(report: Report) -> dict[str, Any]:
    """``report`` as JSON values, without secrets, infinities or what UTF-8 cannot hold."""
    target, patient = report.target, report.patient
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "diagnose", "version": report.tool_version},
        "run": {"id": report.run_id, "saved_at": report.saved_at},
        "target": {
            "model": target.model,
            "source": target.source,
            "path": target.path,
            "category": target.category,
            "family": target.family,
            "model_type": target.model_type,
            "revision": target.revision,
        },
        "patient": {
            "executable": patient.executable,
            "chosen_because": patient.chosen_because,
            "python": patient.python,
            "platform": patient.platform,
            "packages": dict(patient.packages),
        },
        "verdict": report.verdict,
        "stages": [asdict(stage) for stage in report.stages],
        "findings": [finding_json(found) for found in report.findings],
        "facts": [fact_json(fact) for fact in report.facts],
        "network": dict(report.network),
        "timings": dict(report.timings),
        "collectors": [asdict(outcome) for outcome in report.collectors],
        **({"needs": [asdict(need) for need in report.needs]} if report.needs else {}),
        **({"written": asdict(report.written)} if report.written is not None else {}),
        **({"mends": report.mends} if report.mends else {}),
    }
    cleaned = clean(document, sanitise.tokens(os.environ))
    assert isinstance(cleaned, dict)
    return cleaned


def finding_json(found: Finding) -> dict[str, Any]:
    """A finding as it stands in a report."""
    return {
        "id": found.id,
        "rule": found.rule,
        "failure_class": found.failure_class,
        "severity": found.severity,
        "confidence": found.confidence,
        "stage": found.stage,
        "title": found.title,
        "cause": found.cause,
        "root": found.root,
        "explains": found.explains,
        "observed_after": found.observed_after,
        "subjects": [asdict(subject) for subject in found.subjects],
        "evidence": found.evidence,
        "fixes": [asdict(fix) for fix in found.fixes],
        "claims": [asdict(claim) for claim in found.claims],
        "activation": None if found.activation is None else _activation(found.activation),
        "excerpt": found.excerpt,
    }


def _activation(activation: Activation) -> dict[str, Any]:
    # Pairs, since an alias or a variable may stand twice.
    return {
        "rule": activation.rule,
        "facts": [{"alias": alias, "fact": fact} for alias, fact in activation.facts],
        "bindings": [{"variable": variable, "value": value} for variable, value in activation.bindings],
        "absent": activation.absent,
    }


def fact_json(fact: Fact) -> dict[str, Any]:
    """A fact as it stands in a report."""
    return {"id": fact.id, "kind": fact.kind, **fact.fields, "provenance": _provenance(fact.provenance)}


def _provenance(seen: Provenance) -> dict[str, Any]:
    # asdict takes ten times as long, and there are thousands.
    return {"collector": seen.collector, "file": seen.file, "line": seen.line, "path": seen.path}


def clean(value: Any, secrets: tuple[str, ...]) -> Any:
    """``value`` as JSON can hold it, without ``secrets`` and what looks like one."""
    known: dict[str, str] = {}  # names of kinds, fields, classes and files stand in many facts

    def cleaned(value: Any) -> Any:
        if isinstance(value, str):
            text = known.get(value)
            if text is None:
                text = known[value] = sanitise.encodable(sanitise.redact(value, secrets))
            return text
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)  # JSON has no infinities
        if isinstance(value, Mapping):
            return {cleaned(str(key)): cleaned(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [cleaned(item) for item in value]
        return cleaned(str(value))

    return cleaned(value)


# -- reading back ----------------------------------------------------------------------------------


def from_json(document: Any) -> Report:
    """The report that :func:`to_json` gave ``document``.

    Raises :class:`InvalidReport` for anything else, naming the place that is off.
    """
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version is None:
        raise InvalidReport("it has no schema_version, so it is no report of diagnose")
    if version != SCHEMA_VERSION:
        raise InvalidReport(f"its schema_version is {version!r}; this diagnose reads {SCHEMA_VERSION!r}")
    _check(document)
    try:
        return _report(document)
    except ValueError as error:  # text where a number of a fact is expected
        raise InvalidReport(f"one of its facts does not read ({error})") from None


def schema() -> dict[str, Any]:
    """The published JSON Schema of a report (draft 2020-12)."""
    text = resources.files("mlx_diagnose.knowledge_base").joinpath("schemas/report.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _check(document: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator  # 100 ms: only for who reads a report
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema()).iter_errors(document))
    if error is not None:
        place = error.json_path.removeprefix("$").removeprefix(".") or "the report"
        raise InvalidReport(f"{place}: {error.message}")


def _report(document: Mapping[str, Any]) -> Report:
    patient = document["patient"]
    return Report(
        run_id=document["run"]["id"],
        saved_at=document["run"]["saved_at"],
        tool_version=document["tool"]["version"],
        target=Target(**{"path": None, **document["target"]}),
        patient=Patient(**{"executable": "", "chosen_because": "", **patient}),
        verdict=document["verdict"],
        stages=tuple(_read_stage(stage) for stage in document["stages"]),
        findings=tuple(_read_finding(found) for found in document["findings"]),
        facts=tuple(_read_fact(fact) for fact in document["facts"]),
        collectors=tuple(CollectorOutcome(**outcome) for outcome in document["collectors"]),
        timings=dict(document["timings"]),
        network=dict(document["network"]),
        mends=tuple(document.get("mends", ())),
        needs=tuple(Need(need["what"], need["tells"], tuple(need["rules"])) for need in document.get("needs", ())),
        written=_read_written(document["written"]) if "written" in document else None,
    )


def _read_written(written: Mapping[str, Any]) -> Written:
    lists = {name: tuple(written[name]) for name in ("fixes", "commands")}
    return Written(**{**written, **lists, "files": tuple(WrittenFile(**file) for file in written["files"])})


def _read_stage(stage: Mapping[str, Any]) -> StageResult:
    exception = stage["exception"]
    return StageResult(**{**stage, "exception": None if exception is None else ExceptionRecord(**exception)})


def _read_finding(found: Mapping[str, Any]) -> Finding:
    activation = found.get("activation")
    return Finding(
        **{
            **found,
            "explains": tuple(found["explains"]),
            "observed_after": tuple(found["observed_after"]),
            "subjects": tuple(Subject(**subject) for subject in found["subjects"]),
            "evidence": tuple(found["evidence"]),
            "fixes": tuple(_read_fix(fix) for fix in found["fixes"]),
            "claims": tuple(Explains(**claim) for claim in found.get("claims", ())),
            "activation": None if activation is None else _read_activation(activation),
        }
    )


def _read_fix(fix: Mapping[str, Any]) -> Fix:
    lists = {name: tuple(fix.get(name) or ()) for name in ("config_patch", "files", "weight_map")}
    return Fix(**{**fix, **lists})


def _read_activation(activation: Mapping[str, Any]) -> Activation:
    facts: Sequence[Mapping[str, str]] = activation["facts"]
    bindings: Sequence[Mapping[str, Any]] = activation["bindings"]
    return Activation(
        rule=activation["rule"],
        facts=tuple((pair["alias"], pair["fact"]) for pair in facts),
        bindings=tuple((pair["variable"], pair["value"]) for pair in bindings),
        absent=tuple(activation["absent"]),
    )


def _read_fact(fact: Mapping[str, Any]) -> Fact:
    kind = VOCABULARY.get(fact["kind"])
    # A field that was declared after the report was written is not known, and an infinity is text in JSON.
    fields: dict[str, Any] = dict.fromkeys(kind.fields) if kind else {}
    for name, value in fact.items():
        if name not in _FIXED_FACT_KEYS:
            number = kind is not None and name in kind.fields and kind.fields[name].type == "float"
            fields[name] = float(value) if number and isinstance(value, str) else value
    provenance = fact.get("provenance")
    return Fact(fact["kind"], fact["id"], fields, Provenance(**provenance) if provenance else Provenance(""))
