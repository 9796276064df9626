"""The report as SARIF 2.1.0 (OASIS), for code scanning: a result a root cause, with its place in the model's files.

Places are relative where the model lies below the current directory, as in a checkout; else they
are file URIs. A model without a directory is its id. What a fix changes is told in the result's
text and in its properties: SARIF's own fixes are regions of text, ours are patches of data.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlx_diagnose.engine.model import CollectorOutcome, Finding, Report
from mlx_diagnose.engine.report import sanitise
from mlx_diagnose.engine.report.finding_text import applicability
from mlx_diagnose.engine.report.json import clean, finding_json
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.selection import ordered_fixes, place, roots
from mlx_diagnose.engine.report.view import View

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_KINDS = {"tensor": "object", "module": "module", "package": "package", "config_key": "member"}


def render(report: Report, view: View) -> str:
    """``report`` as a SARIF log in ASCII, ending in a line feed; ``view`` changes nothing."""
    del view
    found = list(roots(report))
    rules = list(dict.fromkeys(finding.rule for finding, _ in found))
    titles = {finding.rule: finding for finding, _ in reversed(found)}
    run = {
        "tool": {
            "driver": {
                "name": "diagnose",
                "semanticVersion": report.tool_version,
                "rules": [_rule(titles[rule]) for rule in rules],
            }
        },
        "automationDetails": {"id": f"diagnose/{one_line(report.target.model)}/"},
        "invocations": [_invocation(report)],
        "results": [_result(report, finding, symptoms, rules) for finding, symptoms in found],
        "columnKind": "unicodeCodePoints",
        "properties": {"verdict": report.verdict, "run": report.run_id},
    }
    document = clean({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, sanitise.tokens(os.environ))
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _rule(found: Finding) -> dict[str, Any]:
    return {
        "id": found.rule,
        "shortDescription": {"text": one_line(found.title)},
        "defaultConfiguration": {"level": _LEVELS[found.severity]},
        "help": {"text": f"diagnose explain {found.failure_class} tells what this class of failures means."},
        "properties": {"failureClass": found.failure_class, "tags": [found.failure_class.partition("/")[0]]},
    }


def _invocation(report: Report) -> dict[str, Any]:
    notifications = [
        _notification(outcome) for outcome in report.collectors if outcome.status in ("failed", "timed-out")
    ]
    told = {"toolExecutionNotifications": notifications} if notifications else {}
    ended = {"endTimeUtc": report.saved_at} if report.saved_at else {}
    return {"executionSuccessful": True, **ended, **told}


def _notification(outcome: CollectorOutcome) -> dict[str, Any]:
    reason = f": {one_line(outcome.reason)}" if outcome.reason else ""
    return {"level": "warning", "message": {"text": f"{one_line(outcome.name)} {outcome.status}{reason}"}}


def _result(report: Report, found: Finding, symptoms: Sequence[Finding], rules: Sequence[str]) -> dict[str, Any]:
    return {
        "ruleId": found.rule,
        "ruleIndex": rules.index(found.rule),
        "level": _LEVELS[found.severity],
        "message": {"text": _message(found, symptoms)},
        "locations": [_location(report, found)],
        "partialFingerprints": {"diagnose/v1": _fingerprint(found)},
        "rank": round(100 * found.confidence, 1),
        "properties": {
            "failureClass": found.failure_class,
            "confidence": found.confidence,
            "stage": found.stage,
            "observedAfter": list(found.observed_after),
            "explains": [{"failureClass": symptom.failure_class, "cause": symptom.cause} for symptom in symptoms],
            "fixes": finding_json(found)["fixes"],
        },
    }


def _message(found: Finding, symptoms: Sequence[Finding]) -> str:
    said = [f"{one_line(found.title)}. {one_line(found.cause)}"]
    for fix in ordered_fixes(found):
        said.append(f"Fix {one_line(fix.id)}: {one_line(fix.title)} ({applicability(fix)})")
        said += [f"  {line}" for line in lines(fix.command.strip("\n"))] if fix.command else []
    if symptoms:
        said.append(f"Explains {len(symptoms)} more.")
    return "\n".join(said)


def _location(report: Report, found: Finding) -> dict[str, Any]:
    shown = place(found)
    name = shown[0] if shown else _file(found)
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(report, name)}}
    if shown is not None:
        physical["region"] = {"startLine": max(1, shown[1]), "startColumn": max(1, shown[2])}
    logical = [
        {
            "fullyQualifiedName": one_line(subject.name) or subject.kind,
            "kind": _KINDS.get(subject.kind, "resource"),
        }
        for subject in found.subjects
    ]
    return {"physicalLocation": physical, **({"logicalLocations": logical} if logical else {})}


def _file(found: Finding) -> str:
    """The file of the model that a finding is about: what it names, else config.json."""
    inside = (subject.name for subject in found.subjects if subject.kind == "file" and not os.path.isabs(subject.name))
    return next(inside, "config.json")


def _uri(report: Report, name: str) -> str:
    directory = report.target.path
    if directory is None:
        return quote(one_line(f"{report.target.model}/{name}"))
    file = Path(directory) / one_line(name)
    try:
        return quote(file.relative_to(Path.cwd()).as_posix())
    except (ValueError, OSError):
        return f"file://{quote(file.as_posix())}"


def _fingerprint(found: Finding) -> str:
    """The same for one cause in one model over runs and machines."""
    names: Mapping[str, Any] = {"rule": found.rule, "subjects": sorted(subject.name for subject in found.subjects)}
    return hashlib.sha256(json.dumps(names).encode("ascii")).hexdigest()[:32]
