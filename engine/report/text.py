"""The report for a person: what is wrong, why, and what to do, in that order.

Verdict first, then the ladder of stages, one headline a root cause with its fixes, warnings
after errors, and last how to ask on. Every foreign text passes :mod:`engine.report.sanitise`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from mlx_diagnose.engine.model import CollectorOutcome, Fact, Report, StageResult, StageStatus, is_cut_off
from mlx_diagnose.engine.report.calls import call_lines
from mlx_diagnose.engine.report.companions_text import companion_lines
from mlx_diagnose.engine.report.finding_text import finding_lines
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.view import View, cells, home_relative, source_place
from mlx_diagnose.engine.report.written_text import written_lines

_INDENT = "  "
_WARNINGS_SHOWN = 5
_PACKAGES_SHOWN = ("mlx-audio", "mlx", "transformers")


def render(report: Report, view: View) -> str:
    """``report`` as text in ``view.width`` cells, ending in a line feed."""
    sections = [
        _headline(report, view),
        list(_ladder(report.stages, view)),
        *_findings(report, view),
        list(companion_lines(report.facts, view)),
        list(_known_defects(report, view)),
        list(_needs(report, view)),
        list(_not_examined(report, view)),
        list(call_lines(report.facts, view)),
        list(_details(report, view)) if view.verbose else [],
        list(written_lines(report.written, view)) if report.written is not None else [],
        list(_footer(report, view)),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


# -- verdict -------------------------------------------------------------------------------------


def _headline(report: Report, view: View) -> list[str]:
    mark, style = {
        "loads": (view.glyph("✓", "OK"), "green"),
        "loads-with-warnings": (view.glyph("✓", "OK"), "yellow"),
        "fails": (view.glyph("✗", "X"), "red"),
        "inconclusive": ("?", "yellow"),
    }[report.verdict]
    text = f"{one_line(report.target.model)} {outcome(report)}"
    hanging = " " * (cells(mark) + 1)
    return [view.paint(line, "bold", style) for line in view.fold(text, hanging, f"{mark} ")]


def outcome(report: Report) -> str:
    """What became of the model, as a sentence without its subject: "does not load: ..."."""
    failed = next((stage for stage in report.stages if stage.status == "failed"), None)
    if report.verdict == "loads":
        return f"loads{_what_it_is(report)}{_in_time(report)}."
    if report.verdict == "loads-with-warnings":
        warnings = sum(found.severity == "warning" and found.root for found in report.findings)
        return f"loads{_what_it_is(report)}{_in_time(report)}, with {_count(warnings, 'warning')}."
    if report.verdict == "fails":
        causes = sum(found.severity == "error" and found.root for found in report.findings)
        found = f"{_count(causes, 'cause')} found" if causes else "the cause is only a warning"
        if failed is None:
            return f"will not load: {found} without running it."
        return f"does not load: {_failure(failed)}; {found}."
    if is_cut_off(report.findings):
        at = next((stage.name for stage in report.stages if stage.status in ("failed", "blocked")), "resolve")
        where = "" if at == "resolve" else f" from {at} on"
        return f"could not be examined{where}: the hub did not give what is needed."
    if failed is not None:
        return f"does not load: {_failure(failed)}, and no rule explains why."
    if any(found.severity == "error" for found in report.findings):
        return "fails, and no rule explains why." if report.facts else "tells of no failure."
    stopped = next((stage for stage in report.stages if stage.status == "blocked"), None)
    if stopped is not None:
        return f"could not be run to the end: {stopped.name} is blocked."
    return "was looked at but not loaded: no error found so far."


def _failure(stage: StageResult) -> str:
    name = one_line(stage.name)
    return f"{name} raises {one_line(stage.exception.type)}" if stage.exception else f"{name} fails"


def _what_it_is(report: Report) -> str:
    parts = [one_line(part) for part in (report.target.category, report.target.family) if part]
    return f" ({', '.join(parts)})" if parts else ""


def _in_time(report: Report) -> str:
    total = report.timings.get("total")
    return "" if total is None else f" in {total:.1f} s"


# -- stages --------------------------------------------------------------------------------------


def _ladder(stages: Sequence[StageResult], view: View) -> Iterator[str]:
    """The stages in loader order, several a line; a failed one has lines of its own, with its exception."""
    row: list[tuple[str, str]] = []
    for status, grouped in groupby(stages, key=lambda stage: stage.status):
        group = list(grouped)
        if status == "passed":
            row += [(_timed(stage, view), status) for stage in group]
        elif status != "failed" and len(group) == 1:
            row.append((f"{_mark(status, view)} {one_line(group[0].name)} {_words(status)}", status))
        else:
            yield from _rows(row, view)
            row = []
            yield from _apart(group, status, view)
    yield from _rows(row, view)


def _apart(group: Sequence[StageResult], status: StageStatus, view: View) -> Iterator[str]:
    if status == "failed":
        for stage in group:
            yield from _failed(stage, view)
        return
    lead = f"{_INDENT}{_mark(status, view)} "
    names = ", ".join(one_line(stage.name) for stage in group)
    told = view.fold(f"{_words(status)}: {names}", " " * cells(lead), lead)
    yield from (view.paint(line, *_STAGE_STYLE[status]) for line in told)


_STAGE_STYLE = {
    "passed": ("green",),
    "failed": ("red", "bold"),
    "blocked": ("yellow",),
    "skipped": ("dim",),
    "not-reached": ("dim",),
}


def _words(status: str) -> str:
    return status.replace("-", " ")


def _mark(status: str, view: View) -> str:
    return {
        "passed": view.glyph("✓", "+"),
        "failed": view.glyph("✗", "x"),
        "blocked": "!",
        "skipped": "-",
        "not-reached": view.glyph("·", "."),
    }[status]


def _timed(stage: StageResult, view: View) -> str:
    seconds = "" if stage.seconds is None else f" {_seconds(stage.seconds)}"
    return f"{_mark(stage.status, view)} {one_line(stage.name)}{seconds}"


def _failed(stage: StageResult, view: View) -> Iterator[str]:
    label = f"{_INDENT}{_timed(stage, view)}"
    said = stage.exception
    detail = f"  {one_line(said.type)}: {one_line(said.message)}" if said else ""
    yield view.paint(label, *_STAGE_STYLE["failed"]) + view.cut(detail, view.width - cells(label))
    if said and said.file:
        function = f", in {said.function}" if said.function else ""
        place = one_line(f"at {source_place(said.file, said.line)}{function}")
        yield from (view.paint(text, "dim") for text in view.fold(place, _INDENT * 3, _INDENT * 2))


def _rows(row: Sequence[tuple[str, str]], view: View) -> Iterator[str]:
    line, used = "", 0
    for text, status in row:
        if used and used + 3 + cells(text) > view.width:
            yield line
            line, used = "", 0
        gap = "   " if used else _INDENT
        line += gap + view.paint(text, *_STAGE_STYLE[status])
        used += len(gap) + cells(text)
    if line:
        yield line


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds >= 100 else f"{seconds:.2f}s"


# -- findings ------------------------------------------------------------------------------------


def _findings(report: Report, view: View) -> Iterator[list[str]]:
    roots = [found for found in report.findings if found.root]
    by_id = {found.id: found for found in report.findings}
    errors = [found for found in roots if found.severity == "error"]
    warnings = [found for found in roots if found.severity == "warning"]
    notes = [found for found in roots if found.severity == "info"]
    shown = warnings if view.verbose else warnings[:_WARNINGS_SHOWN]
    for found in [*errors, *shown, *(notes if view.verbose else ())]:
        symptoms = [by_id[id] for id in found.explains if id in by_id]
        yield list(finding_lines(found, symptoms, view))
    hidden = [
        _count(len(left), word)
        for left, word in ((warnings[len(shown) :], "further warning"), ((), "") if view.verbose else (notes, "note"))
        if left
    ]
    if hidden:
        told = view.fold(f"{' and '.join(hidden)} not shown (-v shows all).", _INDENT)
        yield [view.paint(line, "dim") for line in told]


# -- known defects -------------------------------------------------------------------------------


def _known_defects(report: Report, view: View) -> Iterator[str]:
    """Defects of releases that show like this failure, the surest first."""
    defects = [fact for fact in report.facts if fact.kind == "release_defect"]
    if defects:
        yield view.paint("Known defects that show like this", "bold")
    for fact in sorted(defects, key=lambda fact: (not fact["version_known"], not fact["family_known"])):
        told = one_line(
            f"{fact['package']} {fact['broken']}{_defect_conditions(fact)}: {fact['what']} {fact['remedy']}"
        )
        yield from view.fold(f"{told} ({one_line(str(fact['defect']))})", _INDENT * 2, _INDENT)


def _defect_conditions(fact: Fact) -> str:
    version, family = fact["version"], fact["family"]
    if fact["version_known"]:
        known = f" ({version} is installed)" if version is not None else ""
    else:
        known = ", if that is installed"
    return known if fact["family_known"] else f"{known}, if the model is of the family {family}"


# -- what could not be looked at -----------------------------------------------------------------


def _needs(report: Report, view: View) -> Iterator[str]:
    if report.needs:
        yield view.paint("Would tell more", "bold")
    for need in report.needs:
        yield from view.fold(f"{one_line(need.what)}: {one_line(need.tells)}", _INDENT * 2, _INDENT)


def _not_examined(report: Report, view: View) -> Iterator[str]:
    gaps = not_examined(report)
    if gaps:
        yield view.paint("Not examined", "bold")
    for told in gaps:
        yield from view.fold(told, _INDENT * 2, _INDENT)


def not_examined(report: Report) -> list[str]:
    """Collectors that did not come back with facts: news only if the question is still open."""
    open_question = report.verdict == "inconclusive"
    troubled = [
        outcome
        for outcome in report.collectors
        if outcome.status in ("failed", "timed-out") or (open_question and outcome.status == "skipped")
    ]
    # The same one may look again at a mended copy, and fail again.
    return list(dict.fromkeys(_collector(outcome) for outcome in troubled))


def _collector(outcome: CollectorOutcome) -> str:
    reason = f": {one_line(outcome.reason)}" if outcome.reason else ""
    return f"{one_line(outcome.name)} {outcome.status}{reason}"


def _details(report: Report, view: View) -> Iterator[str]:
    """With -v: the traceback, what was collected, and what it cost."""
    for stage in report.stages:
        if stage.exception is not None and stage.exception.traceback:
            yield view.paint(f"Traceback at {one_line(stage.name)}", "bold")
            yield from (f"{_INDENT}{line}".rstrip() for line in lines(stage.exception.traceback.strip("\n")))
    kinds = Counter(one_line(fact.kind) for fact in report.facts)
    if kinds:
        yield view.paint(_count(len(report.facts), "fact"), "bold")
        yield from view.fold(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())), _INDENT)
    if report.collectors:
        yield view.paint("Collectors", "bold")
        told = (f"{_collector(outcome)} ({_seconds(outcome.seconds)})" for outcome in report.collectors)
        yield from view.fold("; ".join(told), _INDENT)
    if report.network.get("requests"):
        sent = _count(report.network["requests"], "request")
        yield f"{view.paint('Network', 'bold')}  {sent}, {report.network.get('bytes', 0)} bytes"


# -- how to ask on -------------------------------------------------------------------------------


def _footer(report: Report, view: View) -> Iterator[str]:
    if report.findings:
        first = one_line(report.findings[0].id)
        ask = f"diagnose why last {first}"
        if report.saved_at is None:
            ask = f"not saved, so write the run with --json -o FILE; then diagnose why FILE {first}"
        yield from _labelled("Why", ask, view)
    traced = any(stage.exception is not None and stage.exception.traceback for stage in report.stages)
    if traced and report.verdict == "inconclusive" and not view.verbose:
        yield from _labelled("More", "-v shows the traceback", view)
    yield from _labelled("Patient", patient_line(report), view)
    if report.saved_at is not None:
        yield from _labelled("Run", one_line(report.run_id), view)


def _labelled(label: str, text: str, view: View) -> Iterator[str]:
    first, *rest = view.fold(text, " " * 9) or [""]
    yield view.paint(f"{label:<9}", "dim") + first[9:]
    yield from rest


def patient_line(report: Report) -> str:
    """The interpreter, its packages, and why it was chosen."""
    patient = report.patient
    versions = [f"Python {patient.python}"] if patient.python else []
    versions += [f"{name} {patient.packages[name]}" for name in _PACKAGES_SHOWN if patient.packages.get(name)]
    told = f" with {', '.join(versions)}" if versions else ""
    return one_line(f"{home_relative(patient.executable)}{told}; chosen: {patient.chosen_because}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
