"""A survey of an environment, for a person in 80 columns and for tools as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from mlx_diagnose.engine.model import Fact, FamilyState, Survey
from mlx_diagnose.engine.report import sanitise
from mlx_diagnose.engine.report.finding_text import finding_lines
from mlx_diagnose.engine.report.json import SCHEMA_VERSION, clean, fact_json, finding_json
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View, home_relative

_LABEL = 10
_SHOWN = ("mlx-audio", "mlx", "mlx-lm", "transformers", "huggingface-hub", "numpy")


def render_json(survey: Survey) -> str:
    """``survey`` as indented JSON in ASCII; facts and findings as in a report, families by category and name."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "diagnose", "version": survey.tool_version},
        "patient": {**asdict(survey.patient), "packages": dict(survey.patient.packages)},
        "families": [asdict(family) for family in survey.families],
        "findings": [finding_json(found) for found in survey.findings],
        "facts": [fact_json(fact) for fact in survey.facts],
        "timings": {"total": survey.seconds},
        "collectors": [asdict(outcome) for outcome in survey.collectors],
    }
    sound = clean(document, sanitise.tokens(os.environ))
    return json.dumps(sound, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def render_text(survey: Survey, view: View) -> str:
    """``survey`` as text in ``view.width`` cells."""
    errors = [found for found in survey.findings if found.severity == "error" and found.root]
    others = [found for found in survey.findings if found.severity != "error" and found.root]
    if not view.verbose:
        others = [found for found in others if found.severity == "warning"]
    sections: list[list[str]] = [
        list(_headline(survey, len(errors), view)),
        [line for label, text in _lines(survey) for line in _row(label, text, view)],
        *(list(finding_lines(found, (), view)) for found in (*errors, *others)),
        list(_notes(survey, view)),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _headline(survey: Survey, errors: int, view: View) -> Iterator[str]:
    total, usable = len(survey.families), sum(family.state != "not-importable" for family in survey.families)
    where = home_relative(one_line(survey.patient.executable))
    if errors:
        mark, style, text = view.glyph("✗", "X"), "red", f"{where} cannot load models of mlx-audio."
    elif not total:
        mark, style, text = "?", "yellow", f"{where}: no family of mlx-audio was found."
    else:
        mark, style = view.glyph("✓", "OK"), "green" if usable == total else "yellow"
        text = f"{where} can import {usable} of {total} families of mlx-audio."
    for line in view.fold(text, " " * (len(mark) + 1), f"{mark} "):
        yield view.paint(line, "bold", style)


def _row(label: str, text: str, view: View) -> Iterator[str]:
    lead = f"{label:<{_LABEL}}"
    for number, line in enumerate(view.fold(one_line(text), " " * _LABEL, lead)):
        yield view.paint(line[:_LABEL], "dim") + line[_LABEL:] if number == 0 else line


def _lines(survey: Survey) -> Iterator[tuple[str, str]]:
    patient = survey.patient
    interpreter, backend = survey.one("interpreter"), survey.one("backend")
    yield "Python", f"{patient.python or 'unknown'} on {patient.platform or 'unknown'}; {patient.chosen_because}"
    if interpreter is not None:
        size, free = interpreter["memory_bytes"], interpreter["free_disk_bytes"]
        named = interpreter["chip"] or (backend["chip"] if backend is not None else None)
        chip = f"{named}, " if named else ""
        yield "Machine", f"{chip}{_size(size)} of memory, {_size(free)} of disk free"
    if backend is not None:
        yield "Back end", _backend(backend)
    found = [f"{name} {patient.packages[name]}" for name in _SHOWN if name in patient.packages]
    yield "Packages", ", ".join(found) or "none of mlx-audio, MLX and what they need"
    yield from _families(survey.families)
    libraries = survey.of("native_library")
    if libraries:
        yield (
            "Libraries",
            ", ".join(f"{fact['name']} {'found' if fact['found'] else 'not found'}" for fact in libraries),
        )
    storage = survey.one("storage")
    if storage is not None:
        yield "Downloads", _storage(storage)


def _backend(backend: Fact) -> str:
    if backend["importable"] is False:
        return f"MLX does not import: {backend['error']}"
    brought = (
        f", brought by {backend['library_package']}" if backend["library_package"] else ", no library of MLX found"
    )
    if backend["importable"] is None:
        return f"not tried{brought}"
    metal = "Metal" if backend["metal"] else f"{backend['device'] or 'unknown device'}, no Metal"
    working_set = backend["working_set_bytes"]
    return f"{metal}{brought}{f', working set {_size(working_set)}' if working_set else ''}"


def _families(families: Sequence[FamilyState]) -> Iterator[tuple[str, str]]:
    for category in dict.fromkeys(family.category for family in families):
        own = [family for family in families if family.category == category]
        broken = [family for family in own if family.state == "not-importable"]
        limited = [family for family in own if family.state == "limited"]
        parts = [f"{len(own) - len(broken)} of {len(own)} import"]
        parts += [f"not {family.family} ({', '.join(family.missing)})" for family in broken]
        if limited:
            parts.append(
                "limited: " + ", ".join(f"{family.family} ({', '.join(family.missing)})" for family in limited)
            )
        yield category, "; ".join(parts)


def _storage(storage: Fact) -> str:
    named = f" (by {storage['variable']})" if storage["variable"] else ""
    state = "" if storage["exists"] else ", not made yet"
    state += "" if storage["writable"] else ", may not be written"
    return f"{home_relative(str(storage['path']))}{named}{state}, {_size(storage['free_bytes'])} free"


def _size(size: object) -> str:
    return f"{size / 1e9:.1f} GB" if isinstance(size, int) else "unknown"


def _notes(survey: Survey, view: View) -> Iterator[str]:
    for outcome in survey.collectors:
        if outcome.status == "failed":
            yield from view.fold(f"Not examined: {outcome.name} ({one_line(outcome.reason or '')}).", "  ")
