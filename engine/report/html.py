"""The report as one HTML page: no script, nothing loaded, light and dark, readable by a screen reader.

Whatever the model's files say is escaped text; a policy in the page forbids everything but its own style.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from mlx_diagnose.engine.model import Finding, Fix, Report, StageResult
from mlx_diagnose.engine.report.finding_text import applicability, change_lines, circumstances
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.selection import about, ordered_fixes, roots
from mlx_diagnose.engine.report.text import not_examined, outcome, patient_line
from mlx_diagnose.engine.report.view import View, source_place

_MARKS = {"loads": "✓", "loads-with-warnings": "✓", "fails": "✗", "inconclusive": "?"}
_STAGES = {"passed": "✓", "failed": "✗", "blocked": "!", "skipped": "–", "not-reached": "·"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --quiet: #565c66; --page: #ffffff; --card: #f5f6f8; --line: #d5d9df;
  --error: #b3261e; --warning: #7a4d00; --info: #0b57a4; --good: #1a6b34; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --quiet: #a9b0ba; --page: #16181b; --card: #212429;
  --line: #3a3f47; --error: #ff8a80; --warning: #ffc46b; --info: #8ec5ff; --good: #7fd99a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; line-height: 1.3; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 0 0 .25rem; }
h3 { font-size: 1rem; margin: 1rem 0 .1rem; }
p { margin: .4rem 0; }
.quiet { color: var(--quiet); }
.fails, .failed, .error { color: var(--error); }
.warning, .loads-with-warnings, .inconclusive, .blocked { color: var(--warning); }
.loads, .passed, .verified { color: var(--good); }
.info { color: var(--info); }
article { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid currentColor;
  border-radius: .4rem; padding: 1rem 1.2rem; margin: 1rem 0; }
article > * { color: var(--ink); }
article .quiet { color: var(--quiet); }
article h2 .severity, article .verified { color: inherit; font-weight: 600; }
article.error { border-left-color: var(--error); } article.error .severity { color: var(--error); }
article.warning { border-left-color: var(--warning); } article.warning .severity { color: var(--warning); }
article.info { border-left-color: var(--info); } article.info .severity { color: var(--info); }
article .verified { color: var(--good); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 0 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
  font-weight: 400; }
th, td { white-space: nowrap; overflow-wrap: normal; }
td:last-child { white-space: normal; overflow-wrap: anywhere; min-width: 14rem; width: 60%; }
pre { background: var(--page); border: 1px solid var(--line); border-radius: .3rem; padding: .6rem .8rem;
  overflow-x: auto; font: .875rem/1.5 ui-monospace, monospace; margin: .5rem 0; overflow-wrap: normal; }
code { font: .9em ui-monospace, monospace; }
summary { cursor: pointer; }
footer { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: .6rem; }
"""


def render(report: Report, view: View) -> str:
    """``report`` as an HTML document, ending in a line feed; with ``view.verbose`` also notes."""
    shown = [pair for pair in roots(report) if view.verbose or pair[0].severity != "info"]
    said = f"{_MARKS[report.verdict]} {one_line(report.target.model)} {outcome(report)}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_text(f'{report.target.model}: {report.verdict}')}</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        f'<header><h1 class="{report.verdict}">{_text(said)}</h1></header>',
        "<main>",
        *_stages(report.stages),
        *(part for found, symptoms in shown for part in _finding(found, symptoms)),
        *_not_examined(report),
        *_traceback(report.stages),
        "</main>",
        f'<footer class="quiet"><p>{_text(patient_line(report))}</p>',
        f"<p>diagnose {_text(report.tool_version)}{_saved(report)}</p></footer>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _saved(report: Report) -> str:
    return f", run {_text(report.run_id)} of {_text(report.saved_at)}" if report.saved_at else ""


def _stages(stages: Sequence[StageResult]) -> Iterator[str]:
    yield '<div class="table" role="region" aria-label="Stages of the load" tabindex="0"><table>'
    yield "<caption>Stages of the load</caption>"
    yield '<thead><tr><th scope="col">Stage</th><th scope="col">Result</th><th scope="col">Time</th>'
    yield '<th scope="col">Exception</th></tr></thead><tbody>'
    for stage in stages:
        time = "" if stage.seconds is None else f"{stage.seconds:.2f} s"
        status = f"{_STAGES[stage.status]} {stage.status.replace('-', ' ')}"
        yield f'<tr><th scope="row">{_text(stage.name)}</th><td class="{stage.status}">{_text(status)}</td>'
        yield f"<td>{time}</td><td>{_exception(stage)}</td></tr>"
    yield "</tbody></table></div>"


def _exception(stage: StageResult) -> str:
    said = stage.exception
    if said is None:
        return ""
    at = f' <span class="quiet">{_text(source_place(said.file, said.line))}</span>' if said.file else ""
    return f"<code>{_text(f'{said.type}: {said.message}')}</code>{at}"


def _finding(found: Finding, symptoms: Sequence[Finding]) -> Iterator[str]:
    name = _text(f"finding-{found.id}").replace(" ", "-")
    yield f'<article class="{found.severity}" aria-labelledby="{name}">'
    yield f'<h2 id="{name}"><span class="severity">{found.severity.capitalize()} {_text(found.id)}</span>'
    yield f"{_text(found.title)}</h2>"
    told = "".join(f" · {_text(part)}" for part in about(found))
    yield f'<p class="quiet"><code>{_text(found.failure_class)}</code>{told}</p>'
    yield f"<p>{_text(found.cause)}</p>"
    if found.excerpt:
        yield _block("Where it stands", lines(found.excerpt))
    for fix in ordered_fixes(found):
        yield from _fix(fix)
    if symptoms:
        count = len(symptoms)
        yield f"<details><summary>Explains {count} further finding{'' if count == 1 else 's'}</summary><ul>"
        for symptom in symptoms:
            said = f"<code>{_text(symptom.failure_class)}</code>: {_text(symptom.cause)}"
            yield f"<li>{_text(symptom.title)}, {said}</li>"
        yield "</ul></details>"
    yield "</article>"


def _fix(fix: Fix) -> Iterator[str]:
    yield f"<h3>Fix {_text(fix.id)}: {_text(fix.title)}</h3>"
    proven = "verified" if fix.applicability == "verified" else "quiet"
    yield f'<p class="{proven}">{_text(applicability(fix))}</p>'
    yield from (f'<p class="quiet">{_text(sentence)}</p>' for sentence in circumstances(fix))
    if fix.command:
        yield _block(f"Command of fix {fix.id}", lines(fix.command.strip("\n")))
    changes = list(change_lines(fix, View()))
    if changes:
        yield _block(f"Changes of fix {fix.id}", changes)


def _not_examined(report: Report) -> Iterator[str]:
    gaps = not_examined(report)
    if gaps:
        yield "<section><h2>Not examined</h2><ul>"
        yield from (f"<li>{_text(gap)}</li>" for gap in gaps)
        yield "</ul></section>"


def _traceback(stages: Sequence[StageResult]) -> Iterator[str]:
    for stage in stages:
        if stage.exception is not None and stage.exception.traceback:
            yield f"<details><summary>Traceback at {_text(stage.name)}</summary>"
            yield _block("Traceback", lines(stage.exception.traceback.strip("\n")))
            yield "</details>"


def _block(label: str, content: Sequence[str]) -> str:
    """Lines as they stand; what is wider than the page scrolls, by keyboard too."""
    text = "\n".join(escape(line) for line in content)
    return f'<pre tabindex="0" role="region" aria-label="{_text(label)}">{text}</pre>'


def _text(text: str) -> str:
    return escape(one_line(text))
