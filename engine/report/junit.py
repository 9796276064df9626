"""The report as JUnit XML, for CI: a test case a stage, a failure a root error.

A stage that several errors concern has a test case for each, since many readers take one failure
of a case; what was not run is skipped. Warnings are in ``system-out``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from mlx_diagnose.engine.model import Finding, Report, StageResult
from mlx_diagnose.engine.report.finding_text import finding_lines
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.selection import roots
from mlx_diagnose.engine.report.view import View

#: What XML 1.0 cannot hold, even escaped (https://www.w3.org/TR/xml/#charsets).
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Errors that belong to no stage.
_SURROUNDINGS = "environment"


def render(report: Report, view: View) -> str:
    """``report`` as an XML document, ending in a line feed; ``view`` changes nothing."""
    del view
    plain = View(width=100, verbose=True)
    errors: dict[str, list[str]] = {}
    titles: dict[str, list[Finding]] = {}
    warnings = []
    for found, symptoms in roots(report):
        text = "\n".join(finding_lines(found, symptoms, plain))
        if found.severity == "error":
            stage = found.stage or _SURROUNDINGS
            errors.setdefault(stage, []).append(text)
            titles.setdefault(stage, []).append(found)
        else:
            warnings.append(text)
    cases = [
        case
        for stage in _stages(report, errors)
        for case in _cases(stage, titles.get(stage.name, []), errors.get(stage.name, []), report)
    ]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{report.timings.get('total', 0.0):.3f}",
    }
    document = ElementTree.Element("testsuites", {"name": "diagnose", **counts})
    suite = ElementTree.SubElement(document, "testsuite", {"name": _text(one_line(report.target.model)), **counts})
    if report.saved_at is not None:
        suite.set("timestamp", report.saved_at.removesuffix("Z"))
    suite.extend(cases)
    if warnings:
        ElementTree.SubElement(suite, "system-out").text = _text("\n\n".join(warnings))
    ElementTree.indent(document)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(document, encoding="unicode") + "\n"


def _stages(report: Report, errors: dict[str, list[str]]) -> Iterator[StageResult]:
    known = {stage.name for stage in report.stages}
    yield from (StageResult(name, "failed") for name in errors if name not in known)
    yield from report.stages


def _cases(stage: StageResult, found: list[Finding], texts: list[str], report: Report) -> Iterator[ElementTree.Element]:
    classname = _text(f"diagnose.{one_line(report.target.model)}")
    for number, (finding, text) in enumerate(zip(found, texts, strict=True)):
        name = stage.name if number == 0 else f"{stage.name} ({one_line(finding.id)})"
        case = _case(classname, name, stage.seconds if number == 0 else None)
        failure = {"message": _text(one_line(finding.title)), "type": _text(finding.failure_class)}
        ElementTree.SubElement(case, "failure", failure).text = _text(text)
        yield case
    if not found:
        case = _case(classname, stage.name, stage.seconds)
        if stage.status != "passed":
            reason = stage.status.replace("-", " ")
            if stage.status == "failed":
                reason = "failed; its cause is told elsewhere"
            ElementTree.SubElement(case, "skipped", {"message": reason})
        yield case


def _case(classname: str, name: str, seconds: float | None) -> ElementTree.Element:
    attributes = {"classname": classname, "name": _text(name), "time": f"{seconds or 0.0:.3f}"}
    return ElementTree.Element("testcase", attributes)


def _text(text: str) -> str:
    return _UNFIT.sub("\ufffd", text)
