"""What the model wants besides its own files, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlx_diagnose.engine.model import Fact, stage_index
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import View, source_place

_MOST = 8


def companion_lines(facts: Sequence[Fact], view: View) -> Iterator[str]:
    """Repositories, and files that are not there; with ``view.verbose`` the others and what only using it wants."""
    found = [fact for fact in facts if fact.kind == "companion" and (view.verbose or _is_news(fact))]
    if not found:
        return
    yield view.paint("Wants also", "bold")
    found.sort(key=lambda fact: (fact["stage"] is None, stage_index(str(fact["stage"])) if fact["stage"] else 0))
    answers: dict[object, str] = {}
    for fact in facts:
        # That a repository is there says nothing of its files.
        if fact.kind == "hub_response" and answers.get(fact["repo"], "found") == "found":
            answers[fact["repo"]] = str(fact["outcome"])
    # A load that went on past a limit of this machine tells the same again.
    told = list(dict.fromkeys(one_line(_told(fact, answers.get(fact["name"]))) for fact in found))
    for line in told if view.verbose else told[:_MOST]:
        yield from view.fold(line, "    ", "  ")
    if len(told) > _MOST and not view.verbose:
        yield view.paint(f"  {len(told) - _MOST} more (-v shows all)", "dim")


def _is_news(fact: Fact) -> bool:
    if fact["stage"] is None:
        return False
    return fact["what"] == "repo" or (fact["state"] == "absent" and not fact["tested"])


def _told(fact: Fact, answer: str | None) -> str:
    when = f"at {fact['stage']}" if fact["stage"] is not None else "when it is used"
    line = fact["line"]
    place = source_place(str(fact["file"]), None if line is None else int(str(line)))
    key = f", named by {fact['config_path']}" if fact["config_path"] is not None else ""
    optional = " (goes on without)" if fact["swallowed"] else " (if it is there)" if fact["tested"] else ""
    hub = "" if answer is None else f" ({'on the hub' if answer == 'found' else f'the hub says: {answer}'})"
    return f"{fact['name']}: {fact['state']}{hub}, {when}{optional}, {place}{key}"
