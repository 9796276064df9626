"""What came of a bisection, for a person and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mlx_diagnose import __version__
from mlx_diagnose.collectors.symptom import Symptom
from mlx_diagnose.engine.bisection import Bisection, Tried
from mlx_diagnose.engine.report.json import clean
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View

SCHEMA_VERSION = "1"
_MESSAGE = 200


def text(found: Bisection, view: View) -> str:
    """The result in ``view.width`` cells, ending in a line feed."""
    parts = [list(_headline(found, view)), list(_table(found, view)), list(_what_helps(found, view))]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _headline(found: Bisection, view: View) -> Iterator[str]:
    name, changes = one_line(found.model), found.changes
    told = [one for one in found.tried if one.loads is not None]
    if not told:
        yield from view.fold(f"{name}: no release of mlx-audio could be tried.", "  ", f"{view.glyph('✗', 'X')} ")
    elif not changes:
        loads = bool(told[0].loads)
        said = "loads with every release of mlx-audio that was tried" if loads else "loads with none of those tried"
        mark = view.glyph("✓", "OK") if loads else view.glyph("✗", "X")
        for line in view.fold(f"{name} {said}, {told[0].release} to {told[-1].release}.", "  ", f"{mark} "):
            yield view.paint(line, "bold", "green" if loads else "red")
    for one, other in changes:
        verb = "loads from mlx-audio {} on" if other.loads else "no longer loads from mlx-audio {} on"
        for line in view.fold(f"{name} {verb.format(other.release)}.", "  ", f"{view.glyph('●', '*')} "):
            yield view.paint(line, "bold")
        untold = found.between(one, other)
        if untold:
            yield from view.fold(f"Between {one.release} and it lie {', '.join(untold)}: see below.", "    ")
    yield from view.fold(
        f"{len(found.tried)} of {len(found.releases)} releases were tried, each in an environment of its own with what "
        "it declares: what differs may be a package that it brings.",
        "  ",
    )


def _table(found: Bisection, view: View) -> Iterator[str]:
    width = max((len(one.release) for one in found.tried), default=0)
    above: Symptom | None = None
    for one in found.tried:
        first = f"  {one.release:<{width}}  "
        yield from view.fold(_outcome(one, above), " " * len(first), first)
        if one.packages:
            told = ", ".join(f"{name} {version}" for name, version in one.packages.items())
            yield from (view.paint(line, "dim") for line in view.fold(f"with {told}", " " * len(first)))
        above = one.symptom


def _outcome(one: Tried, above: Symptom | None) -> str:
    symptom = one.symptom
    if one.why_not is not None:
        return f"not told: {one_line(one.why_not)[:_MESSAGE]}"
    if symptom is None:
        return "loads"
    if symptom.ended:
        return f"{symptom.stage} ends the process ({one_line(symptom.type)})"
    if above is not None and (above.stage, above.type, above.message) == (symptom.stage, symptom.type, symptom.message):
        return "fails in the same way"
    message = one_line(symptom.message)
    if len(message) > _MESSAGE:
        message = message[:_MESSAGE].rstrip() + " ..."
    return f"{symptom.stage} raises {one_line(symptom.type)}: {message}"


def _what_helps(found: Bisection, view: View) -> Iterator[str]:
    loading = [one.release for one in found.tried if one.loads]
    if found.changes and loading:
        yield from view.fold(f"It was seen to load with {', '.join(loading)}:", "         ", "Fix      ")
        yield f"         pip install mlx-audio=={loading[-1]}"
    failing = next((one.release for one in reversed(found.tried) if one.loads is False), None)
    if failing is not None:
        yield from view.fold(
            f"`diagnose isolate MODEL --release {failing}` makes its environment again, to diagnose it there.",
            "         ",
            "Next     ",
        )


def to_json(found: Bisection) -> str:
    """The result for programs."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "diagnose", "version": __version__},
        "model": found.model,
        "releases": list(found.releases),
        "tried": [_tried(one) for one in found.tried],
        "changes": [
            {"before": one.release, "from": other.release, "loads": other.loads} for one, other in found.changes
        ],
    }
    return json.dumps(clean(document, ()), indent=2, ensure_ascii=True) + "\n"


def _tried(one: Tried) -> dict[str, Any]:
    symptom = one.symptom
    return {
        "release": one.release,
        "loads": one.loads,
        "stage": symptom.stage if symptom is not None else None,
        "exception": None if symptom is None else {"type": symptom.type, "message": symptom.message},
        "why_not": one.why_not,
        "packages": dict(one.packages),
    }
