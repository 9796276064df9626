"""The report as GitHub-flavoured Markdown, for an issue or a comment.

What the model's files say is text: it cannot make links, headings, HTML, mentions of people
or references to issues. The whole fits into a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlx_diagnose.engine.model import Finding, Fix, Report, StageResult
from mlx_diagnose.engine.report.finding_text import applicability, change_lines, circumstances
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.selection import about, ordered_fixes, roots
from mlx_diagnose.engine.report.text import not_examined, outcome, patient_line
from mlx_diagnose.engine.report.view import View, source_place

#: A comment of GitHub holds 65,536 characters; and the longest piece of foreign text that is shown.
LONGEST = 60_000
_LONGEST_TEXT = 4_000

_MARKS = {"loads": "✅", "loads-with-warnings": "⚠️", "fails": "❌", "inconclusive": "❓"}
_STAGES = {"passed": "✅", "failed": "❌", "blocked": "⛔", "skipped": "➖", "not-reached": "·"}
#: What is markup within a line, and what is at its beginning.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$])")
_LEADING = re.compile(r"^([#+\-=]|\d+(?=[.)]))")
#: What GitHub turns into links by itself: people, issues, addresses.
_LINKED = re.compile(r"([@#]|GH-|www|://)(?=[\w.])", re.IGNORECASE)


def render(report: Report, view: View) -> str:
    """``report`` as Markdown, ending in a line feed; with ``view.verbose`` also notes and the traceback."""
    head = [
        f"### {_MARKS[report.verdict]} {_code(report.target.model)} {_text(outcome(report))}",
        "",
        *_table(report.stages),
    ]
    foot = [
        *_not_examined(report),
        *_traceback(report),
        f"<sub>diagnose {_text(report.tool_version)} · {_text(patient_line(report))}</sub>",
    ]
    shown, length = [], sum(map(len, head + foot))
    left = [pair for pair in roots(report) if view.verbose or pair[0].severity != "info"]
    while left:
        section = ["", *_finding(*left[0], view)]
        length += sum(len(line) + 1 for line in section)
        if length > LONGEST:
            shown += ["", f"{len(left)} more findings did not fit here."]
            break
        shown += section
        left.pop(0)
    return "\n".join([*head, *shown, "", *foot]) + "\n"


def _table(stages: Sequence[StageResult]) -> Iterator[str]:
    yield "| " + " | ".join(_text(stage.name) for stage in stages) + " |"
    yield "|" + ":-:|" * len(stages)
    yield "| " + " | ".join(f"{_STAGES[stage.status]} {_stage(stage)}".strip() for stage in stages) + " |"
    for stage in stages:
        if stage.exception is not None and stage.status in ("failed", "blocked"):
            said = stage.exception
            at = f" at {_code(source_place(said.file, said.line))}" if said.file else ""
            yield ""
            yield f"{_text(stage.name)}: {_code(f'{said.type}: {said.message}')}{at}"


def _stage(stage: StageResult) -> str:
    if stage.status in ("passed", "failed"):
        return "" if stage.seconds is None else f"{stage.seconds:.2f} s"
    return stage.status.replace("-", " ")


def _finding(found: Finding, symptoms: Sequence[Finding], view: View) -> Iterator[str]:
    yield f"#### {found.severity.capitalize()} {_text(found.id)}: {_text(found.title)}"
    yield ""
    yield " · ".join([_code(found.failure_class), *map(_text, about(found))])
    yield ""
    yield _text(found.cause)
    if found.excerpt:
        yield from ("", *_block("text", lines(found.excerpt)))
    for fix in ordered_fixes(found):
        yield from ("", *_fix(fix))
    if symptoms:
        count = len(symptoms)
        yield ""
        yield f"<details><summary>Explains {count} further finding{'' if count == 1 else 's'}</summary>"
        yield ""
        for symptom in symptoms[:50]:
            yield f"- {_text(symptom.title)} ({_code(symptom.failure_class)}): {_text(symptom.cause)}"
        if count > 50:
            yield f"- and {count - 50} more"
        yield ""
        yield "</details>"


def _fix(fix: Fix) -> Iterator[str]:
    yield f"**Fix {_text(fix.id)}** {_text(fix.title)}  "
    yield f"{'✅ ' if fix.applicability == 'verified' else ''}{_text(applicability(fix))}"
    yield from (_text(sentence) for sentence in circumstances(fix))
    if fix.command:
        yield from ("", *_block("sh", lines(fix.command.strip("\n"))))
    changes = list(change_lines(fix, View()))
    if changes:
        # In a diff the signs stand first.
        yield from ("", *_block("diff", [re.sub(r"^  ([+-] )", r"\1", line) for line in changes]))


def _not_examined(report: Report) -> Iterator[str]:
    gaps = not_examined(report)
    if gaps:
        yield from ("**Not examined**", "", *(f"- {_text(gap)}" for gap in gaps), "")


def _traceback(report: Report) -> Iterator[str]:
    for stage in report.stages:
        if stage.exception is not None and stage.exception.traceback and stage.status in ("failed", "blocked"):
            yield f"<details><summary>Traceback at {_text(stage.name)}</summary>"
            yield ""
            yield from _block("text", lines(stage.exception.traceback.strip("\n"))[-60:])
            yield ""
            yield "</details>"
            yield ""


def _block(language: str, content: Sequence[str]) -> Iterator[str]:
    """A fenced block that nothing in ``content`` can end."""
    runs = [len(run) for line in content for run in re.findall(r"`+", line)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    yield f"{fence}{language}"
    yield from (_cut(line) for line in content)
    yield fence


def _code(text: str) -> str:
    """A code span: in it nothing is markup but the fence."""
    shown = _cut(one_line(text)).replace("|", "\\|")
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def _text(text: str) -> str:
    """Foreign text as text."""
    shown = _cut(one_line(text)).replace("&", "&amp;")
    shown = _LINKED.sub(r"\1<!-- -->", _SPECIAL.sub(r"\\\1", shown))
    return _LEADING.sub(lambda found: f"&#{ord(found[1][0])};{found[1][1:]}", shown)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
