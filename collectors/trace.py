"""The calls of a load, as the probe recorded them: what made the model, what it was given, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.exception_resources import place_in
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Seconds from which a step is slow: a lazy load of the largest published model takes less in all.
SLOW_SECONDS = 20.0
#: A slow step is explained by one below it that takes this part of its time.
_EXPLAINED = 0.7
#: Facts of each kind that are asserted at most; a trace that nobody asked for is there for the failure alone.
_MOST_REQUESTED = 300
_MOST = 120
_MOST_LOOKUPS = 40

Call = Mapping[str, Any]


def collect(
    memory: WorkingMemory,
    trace: Mapping[str, Any],
    *,
    caught: Iterable[Mapping[str, Any]],
    chain: Sequence[Mapping[str, Any]],
    directory: Path | None,
    requested: bool,
) -> None:
    """Assert trace, init_call, call_argument, reached_value and file_wanted facts of a probe's ``trace`` message.

    ``caught`` are the exceptions that the load went on after, ``chain`` those that ended it, the raised one first.
    """
    calls: Sequence[Call] = trace["calls"]
    most = _MOST_REQUESTED if requested else _MOST
    chosen = _chosen(calls, most)
    total = sum(call["seconds"] for call in calls if call["parent"] is None)
    memory.add(
        "trace",
        Provenance("trace"),
        requested=requested,
        calls=len(chosen),
        omitted=int(trace["omitted"]) + len(calls) - len(chosen),
        seconds=round(total, 6),
    )
    swallowed = Counter(link.get("call") for link in caught)
    slow = _slow(calls)
    depths: dict[int, int] = {}
    for call in chosen:
        depths[call["number"]] = depths.get(call["parent"], -1) + 1
        _assert_call(
            memory,
            call,
            depth=depths[call["number"]],
            share=call["seconds"] / total if total else 0.0,
            caught=swallowed[call["number"]],
            slow=call["number"] in slow,
        )
    _assert_arguments(memory, chosen, most, requested=requested)
    if chain:
        _assert_reached(memory, trace["reached"], chain[0])
    _assert_lookups(memory, trace["lookups"], directory)


def _chosen(calls: Sequence[Call], most: int) -> list[Call]:
    """Those that raised and those that took longest, with what called them; in order."""
    if len(calls) <= most:
        return list(calls)
    by_number = {call["number"]: call for call in calls}
    kept: set[int] = set()
    for call in sorted(calls, key=lambda call: (not call["raised"], -call["seconds"])):
        above: list[int] = []
        current: Call | None = call
        while current is not None and current["number"] not in kept:
            above.append(current["number"])
            current = by_number.get(current["parent"])
        if len(kept) + len(above) <= most:
            kept.update(above)
    return [call for call in calls if call["number"] in kept]


def _slow(calls: Sequence[Call]) -> set[int]:
    longest_below: dict[int | None, float] = {}
    for call in calls:
        longest_below[call["parent"]] = max(longest_below.get(call["parent"], 0.0), call["seconds"])
    return {
        call["number"]
        for call in calls
        if call["seconds"] >= SLOW_SECONDS and longest_below.get(call["number"], 0.0) < _EXPLAINED * call["seconds"]
    }


def _assert_call(memory: WorkingMemory, call: Call, *, depth: int, share: float, caught: int, slow: bool) -> None:
    memory.add(
        "init_call",
        Provenance("trace", call["file"], call["line"]),
        number=call["number"],
        parent=call["parent"],
        depth=depth,
        stage=call["stage"] or "construct",
        function=call["name"],
        module=call["module"],
        place=call["place"],
        file=call["file"],
        line=call["line"],
        count=call["calls"],
        seconds=call["seconds"],
        longest=call["longest"],
        share=round(min(share, 1.0), 4),
        resident_before=call["resident"][0],
        resident_after=call["resident"][1],
        resident_growth=call["growth"][0],
        mlx_before=call["active"][0],
        mlx_after=call["active"][1],
        mlx_growth=call["growth"][1],
        mlx_peak=call["peak"],
        tensors=call["made"][0],
        parameters=call["made"][1],
        bytes=call["made"][2],
        raised=bool(call["raised"]),
        caught=caught,
        slow=slow,
    )


def _assert_arguments(memory: WorkingMemory, calls: Sequence[Call], most: int, *, requested: bool) -> None:
    """Arguments of the calls that raised; of the others, if a trace was asked for, those from the config."""
    left = most
    for call in sorted(calls, key=lambda call: not call["raised"]):
        for argument in call["arguments"]:
            if not call["raised"] and not (requested and argument["origin"] == "config"):
                continue
            if left == 0:
                return
            left -= 1
            memory.add(
                "call_argument",
                Provenance("trace", call["file"], call["line"], argument["path"] or None),
                call=call["number"],
                function=call["name"],
                name=argument["name"],
                value=argument["value"],
                type=argument["type"],
                origin=argument["origin"],
                config_path=argument["path"],
                certain=argument["certain"],
                raised=bool(call["raised"]),
            )


def _assert_reached(memory: WorkingMemory, reached: Sequence[Mapping[str, Any]], raised: Mapping[str, Any]) -> None:
    frame = raised["frames"][-1] if raised["frames"] else {}
    # Keys that name the model rather than shape it come along with every config; a part's own type is
    # passed over unless the failing line reads nothing else.
    reached = [value for value in reached if value["path"] not in ("model_type", "model_path")]
    shaping = [value for value in reached if value["path"].rpartition(".")[2] not in ("model_type", "model_path")]
    reached = shaping or [value for value in reached if value["certain"]]
    for value in reached:
        memory.add(
            "reached_value",
            Provenance("trace", value["file"], value["line"], value["path"]),
            stage=raised["stage"],
            path=value["path"],
            name=value["path"].rpartition(".")[2],
            value=value["value"],
            type=value["type"],
            origin=value["origin"],
            certain=value["certain"],
            expression=value["expression"],
            function=value["function"],
            file=value["file"],
            line=value["line"],
            exception=raised["type"],
            raised_file=frame.get("file"),
            raised_line=frame.get("line"),
            alone=len(reached) == 1,
        )


def _assert_lookups(memory: WorkingMemory, lookups: Sequence[Mapping[str, Any]], directory: Path | None) -> None:
    """Files of the model that were looked for and are not there; the load went on."""
    known = {fact["path"] for fact in memory.of("file_wanted")}
    for lookup in lookups[:_MOST_LOOKUPS]:
        path = Path(lookup["path"])
        inside = directory is not None and (directory in path.parents or not path.is_absolute())
        if lookup["path"] in known or not inside:
            continue
        memory.add(
            "file_wanted",
            Provenance("trace", lookup["file"], lookup["line"]),
            stage=lookup["stage"] or "post_load",
            path=lookup["path"],
            name=path.name,
            in_model=True,
            in_package=False,
            package=None,
            raised=False,
            elsewhere=False,
            part=None,
            place=place_in(directory, lookup["path"]),
            file=lookup["file"],
            line=lookup["line"],
        )
