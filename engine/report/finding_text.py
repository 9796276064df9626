"""A finding for a person: headline, the user's own text, cause, fixes, folded symptoms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_diagnose.adapters.weight_operations import describe
from mlx_diagnose.engine.model import Finding, Fix
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.view import View, cells

_INDENT = "  "
_FIXES_SHOWN = 3
_CHANGES_SHOWN = 12
_EXCERPT_LINES = 12
_STYLES = {"error": ("red", "bold"), "warning": ("yellow", "bold"), "info": ("cyan", "bold")}
_APPLICABILITY_ORDER = ("verified", "unverified", "manual")


def finding_lines(found: Finding, symptoms: Sequence[Finding], view: View) -> Iterator[str]:
    """The lines of one root cause; ``symptoms`` are the findings folded under it."""
    label = f"{found.severity.upper()} {one_line(found.id)}"
    indent = " " * (cells(label) + 2)
    title = view.fold(one_line(found.title), indent) or [indent]
    yield f"{view.paint(label, *_STYLES[found.severity])}  {view.paint(title[0][len(indent) :], 'bold')}"
    yield from (view.paint(line, "bold") for line in title[1:])
    yield from (view.paint(line, "dim") for line in view.fold(about(found, view), indent))
    if found.excerpt:
        yield ""
        yield from excerpt_lines(found.excerpt, view)
        yield ""
    yield from view.fold(one_line(found.cause), _INDENT)
    fixes = sorted(found.fixes, key=lambda fix: _APPLICABILITY_ORDER.index(fix.applicability))
    shown = fixes if view.verbose else fixes[:_FIXES_SHOWN]
    for fix in shown:
        yield ""
        yield from _fix(fix, view)
    if len(fixes) > len(shown):
        yield f"{_INDENT}{len(fixes) - len(shown)} more with -v."
    if symptoms:
        yield ""
        yield from _symptoms(symptoms, view)


def about(found: Finding, view: View) -> str:
    """Class, stage and confidence of a finding in a line."""
    parts = [one_line(found.failure_class)]
    if found.stage:
        parts.append(f"at {one_line(found.stage)}")
    if found.confidence > 0:
        parts.append(f"{found.confidence:.0%} sure")
    if found.observed_after:
        parts.append(f"seen after fix {', '.join(map(one_line, found.observed_after))}")
    if view.verbose:
        parts.append(f"rule {one_line(found.rule)}")
    return view.glyph(" · ", ", ").join(parts)


def excerpt_lines(text: str, view: View) -> Iterator[str]:
    """The user's text, cut to the width; where the caret stands further right, from the left."""
    shown = lines(text)[:_EXCERPT_LINES]
    room = view.width - 2 * len(_INDENT)
    caret = max((line.rstrip().rfind("^") for line in shown if set(line) <= set(" |^~-0123456789")), default=-1)
    start = max(0, caret - room * 2 // 3) if caret >= room else 0
    for line in shown:
        gutter, bar, body = line.partition("| ")
        if start and bar:
            line = f"{gutter}{bar}{body[start:]}"
        line = view.cut(line.rstrip(), room)
        yield _INDENT * 2 + (view.paint(line, "red") if line.strip(" |^~") == "" else line)


def _symptoms(symptoms: Sequence[Finding], view: View) -> Iterator[str]:
    count = len(symptoms)
    said = f"Explains {count} further finding{'' if count == 1 else 's'}"
    if not view.verbose:
        told = view.fold(f"{said} (-v lists {'it' if count == 1 else 'them'}).", _INDENT)
        yield from (view.paint(line, "dim") for line in told)
        return
    yield f"{_INDENT}{said}:"
    for symptom in symptoms:
        lead = f"{_INDENT * 2}{one_line(symptom.id)}  "
        text = f"{one_line(symptom.title)} ({one_line(symptom.failure_class)}): {one_line(symptom.cause)}"
        yield from view.fold(text, " " * cells(lead), lead)


# -- fixes ---------------------------------------------------------------------------------------


def _fix(fix: Fix, view: View) -> Iterator[str]:
    label = f"{_INDENT}Fix {one_line(fix.id)}  "
    indent = " " * cells(label)
    title = view.fold(one_line(fix.title), indent) or [indent]
    yield view.paint(label, "bold") + title[0][len(indent) :]
    yield from title[1:]
    style = "green" if fix.applicability == "verified" else "yellow"
    yield from (view.paint(line, style) for line in view.fold(applicability(fix), indent))
    # What is to be pasted is never folded: a broken line would not run.
    if fix.command:
        yield from (f"{indent}{view.paint(line, 'cyan')}" for line in lines(fix.command.strip("\n")))
    yield from (f"{indent}{line}" for line in change_lines(fix, view))
    for sentence in circumstances(fix):
        yield from view.fold(sentence, indent)


def change_lines(fix: Fix, view: View) -> Iterator[str]:
    """What a fix changes in config.json and in the weights."""
    if fix.config_patch:
        yield from patch_lines(fix.config_patch, view)
    yield from _weight_map_lines(fix.weight_map, view)


def circumstances(fix: Fix) -> Iterator[str]:
    """What a fix sets besides, and which files it changes."""
    if fix.environment:
        settings = " ".join(f"{one_line(name)}={one_line(value)}" for name, value in sorted(fix.environment.items()))
        yield f"with the environment {settings}"
    for name, path in sorted(fix.copies.items()):
        yield f"takes {one_line(name)} from {one_line(path)}"
    if fix.shim:
        yield f"with the loader shim {one_line(fix.shim)}"
    files = [one_line(file) for file in fix.files if not (fix.config_patch and file == "config.json")]
    if files:
        yield f"changes {', '.join(files)}"


def applicability(fix: Fix) -> str:
    """What was proven of a fix, and the reason if nothing was."""
    reason = one_line(fix.reason or "")
    if fix.applicability == "verified":
        return f"verified: {reason or 'tried on a copy, loads'}"
    if fix.applicability == "unverified":
        return f"not verified: {reason or 'it was not tried'}"
    return f"by hand: {reason}" if reason else "by hand, not tried"


def patch_lines(patch: Sequence[Mapping[str, Any]], view: View) -> Iterator[str]:
    """An RFC 6902 patch of config.json as lines of JSON to write or to strike out, by section."""
    section: str | None = None
    for change in patch[:_CHANGES_SHOWN]:
        *parents, key = _pointer(change.get("path"))
        place = one_line(".".join(parents))
        if place != section:
            section = place
            yield f"in config.json, under {place}:" if place else "in config.json:"
        yield from (f"  {line}" for line in _change(change, key, parents, view))
    if len(patch) > _CHANGES_SHOWN:
        yield f"  and {len(patch) - _CHANGES_SHOWN} more changes (--json gives the whole patch)"


def _weight_map_lines(operations: Sequence[Mapping[str, Any]], view: View) -> Iterator[str]:
    """The operations of a weight map, one a line."""
    if operations:
        yield "in the weights:"
    for operation in operations[:_CHANGES_SHOWN]:
        yield view.paint(f"  {one_line(describe(operation))}", "green")
    if len(operations) > _CHANGES_SHOWN:
        yield f"  and {len(operations) - _CHANGES_SHOWN} more operations (--json gives the whole map)"


def _change(change: Mapping[str, Any], key: str, parents: Sequence[str], view: View) -> Iterator[str]:
    operation = change.get("op")
    name = _json(key)
    if operation in ("remove", "replace"):
        yield view.paint(f"- {name}", "red")
    if operation in ("add", "replace"):
        yield view.paint(f"+ {name}: {_json(change.get('value'))}", "green")
    if operation in ("move", "copy"):
        *origin, old = _pointer(change.get("from"))
        source = _json(old) if list(origin) == list(parents) else one_line(".".join([*origin, old]))
        verb = "rename" if list(origin) == list(parents) else "move"
        yield view.paint(f"{verb if operation == 'move' else 'copy'} {source} to {name}", "green")


def _pointer(path: object) -> list[str]:
    """The parts of a JSON pointer; the whole document is one empty part."""
    return [part.replace("~1", "/").replace("~0", "~") for part in str(path or "").split("/")[1:]] or [""]


def _json(value: object) -> str:
    return one_line(json.dumps(value, ensure_ascii=False, default=str))
