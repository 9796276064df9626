"""What came of a reduction, for a person and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mlx_diagnose import __version__
from mlx_diagnose.collectors.symptom import Symptom
from mlx_diagnose.engine.config_reduction import count
from mlx_diagnose.engine.emission import Emitted
from mlx_diagnose.engine.model import Fact
from mlx_diagnose.engine.reduction import Reduction
from mlx_diagnose.engine.report import sanitise
from mlx_diagnose.engine.report.json import clean
from mlx_diagnose.engine.report.sanitise import lines, one_line
from mlx_diagnose.engine.report.view import View, home_relative, source_place

SCHEMA_VERSION = "1"
#: Lines of a config, and parts of a model, that are shown.
_LINES = 60
_PARTS = 40
#: Exceptions caught on the way that are shown.
_CAUGHT = 3


# -- for a person --------------------------------------------------------------------------------


def text(reduction: Reduction, emitted: Emitted | None, view: View) -> str:
    """The result in ``view.width`` cells, ending in a line feed."""
    parts = [
        list(_headline(reduction, view)),
        list(_smallest(reduction, view)),
        list(_largest(reduction, view)),
        list(_script(emitted, view)),
        list(_built(reduction.facts, view)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _headline(reduction: Reduction, view: View) -> Iterator[str]:
    name, symptom = one_line(reduction.located.model), reduction.symptom
    if symptom is None:
        yield view.paint(f"{view.glyph('✓', 'OK')} {name} loads: there is nothing to reduce.", "bold", "green")
        return
    yield from (
        view.paint(line, "bold", "red")
        for line in view.fold(f"{name} does not load: {_failure(symptom)}.", "  ", f"{view.glyph('✗', 'X')} ")
    )
    yield from view.fold(one_line(symptom.message)[:600], "    ")
    if symptom.place is not None:
        yield f"    at {one_line(source_place(*symptom.place))}"
    for told in sorted(symptom.caught)[:_CAUGHT]:
        yield from view.fold(one_line(told)[:300], "      ", "    caught before: ")
    if reduction.why_not is not None:
        yield ""
        yield from view.fold(f"Not reduced to the end: {one_line(reduction.why_not)}.", "  ", "")


def _failure(symptom: Symptom) -> str:
    if symptom.ended:
        return f"{symptom.stage} ends the process ({one_line(symptom.type)})"
    return f"{symptom.stage} raises {one_line(symptom.type)}"


def _smallest(reduction: Reduction, view: View) -> Iterator[str]:
    if reduction.reduced is None and reduction.raw is None:
        return
    effort = f"{reduction.attempts} loads, {reduction.seconds:.1f} s"
    if reduction.reduced is None:
        yield view.paint(f"Smallest config.json that fails in the same way ({effort}):", "bold")
        shown = one_line(ascii((reduction.raw or b"")[:400]))
        yield from view.fold(shown, "    ")
    else:
        left = count(reduction.reduced)
        yield view.paint(
            f"Smallest config that fails in the same way: {left} of {_values(reduction.values)} ({effort})", "bold"
        )
        shown_lines = lines(json.dumps(reduction.reduced, indent=2, ensure_ascii=False))
        yield from (f"    {line}" for line in shown_lines[:_LINES])
        if len(shown_lines) > _LINES:
            yield f"    ... {len(shown_lines) - _LINES} more lines in the reproduction"
        if reduction.neutral:
            names = ", ".join(one_line(name) for name in reduction.neutral)
            yield from view.fold(f"Of {names} only the type matters.", "  ")
    if reduction.files:
        names = ", ".join(one_line(name) for name in reduction.files)
        yield from view.fold(f"It needs of the model's other files: {names}.", "  ")


def _largest(reduction: Reduction, view: View) -> Iterator[str]:
    if reduction.passing is None:
        if reduction.reduced and reduction.why_not is None:
            yield "No config near it was found that passes."
        elif reduction.reduced == {}:
            yield "Nothing in the config has to do with it."
        return
    passes = "loads" if reduction.passing_stage is None else f"passes this stage; {reduction.passing_stage} fails"
    changes = len(reduction.difference)
    yield view.paint(
        f"Largest config that passes: this one with {changes} change{'s' if changes != 1 else ''} (it {passes})", "bold"
    )
    for step in reduction.difference[:_LINES]:
        value = f" {_short(step['value'])}" if "value" in step else ""
        yield view.cut(f"    {step['op']} {one_line(step['path'])}{value}", view.width)


def _short(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False))


def _script(emitted: Emitted | None, view: View) -> Iterator[str]:
    if emitted is None:
        return
    path = one_line(home_relative(str(emitted.path)))
    yield view.paint("Reproduction", "bold") + f"  {path}"
    if emitted.why_not is None:
        yield "  run in a fresh process, it fails in the same way"
    else:
        yield from view.fold(f"it does NOT fail in the same way: {one_line(emitted.why_not)}", "  ")


def _built(facts: Sequence[Fact], view: View) -> Iterator[str]:
    if not facts:
        return
    yield view.paint("Built without its weights", "bold")
    whose = {"given": "this config", "known-good": "the family's known-good config"}
    for fact in facts:
        if fact.kind == "minimal_build":
            yield from view.fold(f"{whose[str(fact['config'])]}{_size(fact)}", "    ", f"  {_mark(fact, view)} ")
    for fact in facts:
        if fact.kind == "section_build":
            what = f"known-good config with this {one_line(str(fact['section']))}"
            yield from view.fold(f"{what}{_error(fact)}", "    ", f"  {_mark(fact, view)} ")
    shown = [fact for fact in facts if fact.kind == "component_build"]
    shown = [fact for fact in shown if fact["outcome"] == "failed" or (view.verbose or not fact["nested"])]
    for fact in shown[:_PARTS]:
        name = one_line(f"{fact['component']} ({fact['role']}, {fact['class_name']}){_given(fact)}{_error(fact)}")
        yield from view.fold(name, "      ", f"    {_mark(fact, view)} ")
    if len(shown) > _PARTS:
        yield f"    ... and {len(shown) - _PARTS} more parts"


def _mark(fact: Fact, view: View) -> str:
    built = fact["outcome"] == "built"
    return view.paint(view.glyph("✓", "OK") if built else view.glyph("✗", "X"), "green" if built else "red")


def _size(fact: Fact) -> str:
    if fact["outcome"] == "failed":
        return _error(fact)
    size = f"{fact['tensors']} tensors, {_megabytes(fact['bytes'])}"
    if fact["size"] == "full":
        return f": built at full size, lazily ({size})"
    how = "its arrays made and evaluated" if fact["evaluated"] else "still too large to be evaluated"
    made = f"scaled down in {fact['changed']} numbers" if fact["changed"] else "as it is"
    return f": built {made}, {how} ({size})"


def _given(fact: Fact) -> str:
    if fact["section"] is not None:
        return f", of {fact['section']}" if fact["section"] else ", of the whole config"
    if fact["target"] is not None:
        return f", of {fact['target']}"
    return f", of {fact['keys']}" if fact["keys"] else ""


def _error(fact: Fact) -> str:
    if fact["outcome"] == "built":
        return ""
    return f": {fact['exception_type']}: {str(fact['message'] or '')[:160]}"


def _megabytes(size: object) -> str:
    return f"{float(str(size)) / 1e6:.1f} MB"


def _values(number: int) -> str:
    return "1 value" if number == 1 else f"{number} values"


# -- for programs --------------------------------------------------------------------------------


def to_json(reduction: Reduction, emitted: Emitted | None) -> str:
    """The result as indented JSON in ASCII, without secrets, ending in a line feed."""
    symptom = reduction.symptom
    document = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "diagnose", "version": __version__},
        "target": {
            "model": reduction.located.model,
            "path": str(reduction.located.directory),
            "category": reduction.category,
        },
        "packages": dict(reduction.versions),
        "loads": symptom is None,
        "failure": None
        if symptom is None
        else {
            "stage": symptom.stage,
            "exception": symptom.type,
            "message": symptom.message,
            "behind_it": symptom.root,
            "caught": sorted(symptom.caught),
            "file": symptom.place[0] if symptom.place else None,
            "line": symptom.place[1] if symptom.place else None,
        },
        "why_not": reduction.why_not,
        "smallest": {
            "config": reduction.reduced,
            "text": None if reduction.raw is None else reduction.raw.decode("utf-8", "backslashreplace"),
            "values": 0 if reduction.reduced is None else count(reduction.reduced),
            "values_before": reduction.values,
            "neutral": list(reduction.neutral),
            "files": list(reduction.files),
        },
        "largest": None
        if reduction.passing is None
        else {
            "config": reduction.passing,
            "difference": list(reduction.difference),
            "loads": reduction.passing_stage is None,
            "fails_at": reduction.passing_stage,
        },
        "reproduction": None
        if emitted is None
        else {"path": str(emitted.path), "reproduces": emitted.why_not is None, "why_not": emitted.why_not},
        "builds": [{"id": fact.id, "kind": fact.kind, **fact.fields} for fact in reduction.facts],
        "attempts": reduction.attempts,
        "seconds": reduction.seconds,
    }
    return json.dumps(clean(document, sanitise.tokens(os.environ)), indent=2, ensure_ascii=True, allow_nan=False) + "\n"
