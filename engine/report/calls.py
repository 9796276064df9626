"""The calls that made the model, as a tree of text, where the trace was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlx_diagnose.engine.model import Fact
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View

#: Lines of the tree; calls that took less are left out.
_MOST_LINES = 40
_POWERS = ("", "k", "M", "G", "T")


def call_lines(facts: Sequence[Fact], view: View) -> Iterator[str]:
    """The heading and the tree; nothing where no trace was asked for and ``view`` is not verbose."""
    summary = next((fact for fact in facts if fact.kind == "trace"), None)
    if summary is None or not (summary["requested"] or view.verbose):
        return
    calls = [fact for fact in facts if fact.kind == "init_call" and fact.id.count(".") == summary.id.count(".")]
    shown = _shown(calls)
    yield view.paint("Calls", "bold") + view.paint("  seconds, memory kept, what was made", "dim")
    for call in shown:
        yield view.cut("  " * (int(str(call["depth"])) + 1) + one_line(_told(call)), view.width)
    left = len(calls) - len(shown) + int(str(summary["omitted"]))
    if left:
        yield view.paint(f"  {left} further kinds of calls took less (--json has the larger ones)", "dim")


def _shown(calls: Sequence[Fact]) -> list[Fact]:
    """Those that raised and those that took longest, with what calls them, in their order."""
    by_number = {call["number"]: call for call in calls}
    kept: set[object] = set()
    for call in sorted(calls, key=lambda call: (not call["raised"], -float(str(call["seconds"])))):
        above: list[object] = []
        current: Fact | None = call
        while current is not None and current["number"] not in kept:
            above.append(current["number"])
            current = by_number.get(current["parent"])
        if len(kept) + len(above) <= _MOST_LINES:
            kept.update(above)
    return [call for call in calls if call["number"] in kept]


def _told(call: Fact) -> str:
    parts = [str(call["function"])]
    if call["place"] is not None:
        parts.append(f"({call['place']})")
    if call["count"] != 1:
        parts.append(f"x{call['count']}")
    parts.append(f"{float(str(call['seconds'])):.3f}s")
    kept = max(int(str(call["resident_growth"])), int(str(call["mlx_growth"])))
    if abs(kept) >= 1 << 20:
        parts.append(f"{kept / (1 << 20):+.0f} MB")
    if call["tensors"]:
        parts.append(f"{call['tensors']} tensors, {_short(call['parameters'])} parameters, {_short(call['bytes'])}B")
    if call["raised"]:
        parts.append("raised")
    if call["caught"]:
        parts.append(f"{call['caught']} caught")
    return " ".join(parts)


def _short(number: object) -> str:
    value = float(str(number))
    power = 0
    while value >= 1000 and power < len(_POWERS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g}{_POWERS[power]}"
