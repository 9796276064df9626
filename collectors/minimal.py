"""Minimal builds: what can be built of a model that fails, and which part of it cannot.

Asked for where a load fails while the model is constructed, and by ``diagnose reduce``: the model
of the config and of the family's known-good config, lazily and scaled down with real arrays; its
parts, one by one; the known-good config with one section of the user's at a time. Together they
tell whether the code, the sizes, one part or the fit of two parts is what fails.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.collectors import components, culprits, disagreements, scaling
from mlx_diagnose.collectors.builds import Build, Builds
from mlx_diagnose.collectors.components import Component
from mlx_diagnose.collectors.config_edit import Path
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Bytes of parameters that a small twin is to have at most.
TWIN = 256 << 20
#: Bytes that are evaluated where a twin cannot be made as small: sizes may stand in the code.
EVALUATED = 1 << 30


@dataclass(frozen=True, slots=True)
class Minimal:
    """What was built. ``twin`` is the scaled-down config, None where none was built."""

    given: Build | None
    parts: list[Component]
    twin: dict[str, Any] | None = None


def collect(
    memory: WorkingMemory,
    config: Mapping[str, Any],
    run: LoadRun,
    builds: Builds,
    *,
    ghost: bool = False,
    compare: bool = True,
    limit: int = EVALUATED,
) -> Minimal:
    """Assert ``minimal_build``, ``component_build``, ``section_build`` and ``component_disagreement`` facts.

    ``run`` is the load of ``config`` as it is. Where that failed before the model was made, the
    family's known-good config is built as well, if it is to be compared with. Parameters of more
    bytes than ``limit`` are not evaluated.
    """
    given = builds.build(config)
    parts = parts_of(config, builds, ghost=ghost)
    components.assert_facts(memory, parts, run.chain)
    if given is None:
        return Minimal(None, parts)
    _assert_build(memory, "given", "full", given, run)
    if given.built:
        twin = _scaled(memory, "given", config, builds, run, limit)
        return Minimal(given, parts, twin)
    good = _known_good(memory) if compare else None
    if good is not None and _against_known_good(memory, config, good, builds, run):
        disagreements.collect(memory, config, good, parts, builds)
        # Last: it takes the most builds.
        _scaled(memory, "known-good", good, builds, run, limit)
    return Minimal(given, parts)


def parts_of(config: Mapping[str, Any], builds: Builds, *, ghost: bool = False) -> list[Component]:
    """The parts of the model of ``config``, each built by itself as far as the code goes on to it."""
    if builds.exhausted:
        return []
    directory = builds.overlays.with_config(config)
    messages = builds.process.request(probe="components", load=str(directory), ghost=ghost)
    told = [message for message in messages if message["m"] == "components"]
    return components.components(told[0]) if told else []


def _known_good(memory: WorkingMemory) -> dict[str, Any] | None:
    from mlx_diagnose.knowledge_base.configurations import known_good

    resolution = memory.one("resolution")
    found = known_good(str(resolution["resolved"]), str(resolution["category"])) if resolution is not None else None
    return found.config() if found is not None else None


def _scaled(
    memory: WorkingMemory, of: str, config: Mapping[str, Any], builds: Builds, run: LoadRun, limit: int
) -> dict[str, Any] | None:
    """Build a small twin of ``config`` and evaluate it; its config, where that was done."""
    scaled = scaling.scale(config, _defaults(memory) if of == "given" else [], builds, TWIN)
    if scaled is None:
        return None
    started = time.monotonic()
    made = builds.build(scaled.config, evaluate=limit)
    if made is None:
        return None
    _assert_build(memory, of, "scaled", made, run, changed=scaled.changed, seconds=time.monotonic() - started)
    return scaled.config


def _defaults(memory: WorkingMemory) -> list[tuple[Path, int]]:
    """Numbers that stand in for keys that config.json does not give."""
    from mlx_diagnose.collectors.candidates import numbers

    return [(path, value) for path, value, _ in numbers({}, memory)]


def _assert_build(
    memory: WorkingMemory,
    of: str,
    size: str,
    build: Build,
    run: LoadRun,
    *,
    changed: int = 0,
    seconds: float | None = None,
) -> None:
    file, line = _place(build.chain[0]) if build.chain else (None, None)
    memory.add(
        "minimal_build",
        Provenance("minimal", file, line),
        config=of,
        size=size,
        outcome="failed" if not build.built or build.evaluated is False else "built",
        evaluated=build.evaluated is True,
        stage=build.stage,
        exception_type=build.type,
        message=(build.message or "")[:500] or None,
        file=file,
        line=line,
        same_failure=_same(build, run),
        tensors=build.tensors if build.built else None,
        bytes=build.bytes if build.built else None,
        changed=changed,
        seconds=round(seconds, 6) if seconds is not None else build.seconds,
    )


def _same(build: Build | None, run: LoadRun) -> bool:
    """Whether a build failed as the load did: at the same line, with the same exception."""
    if build is None or not build.chain or not run.chain:
        return False
    one, other = build.chain[0], run.chain[0]
    return one["type"] == other["type"] and _place(one) == _place(other)


def _place(link: Mapping[str, Any]) -> tuple[Any, Any]:
    frame = link["frames"][-1] if link["frames"] else {}
    return frame.get("file"), frame.get("line")


def _against_known_good(
    memory: WorkingMemory,
    config: Mapping[str, Any],
    good: Mapping[str, Any],
    builds: Builds,
    run: LoadRun,
) -> bool:
    """Build the known-good config, and with each section of the user's in its place; whether it is built at all."""
    whole = builds.build(good)
    if whole is None:
        return False
    _assert_build(memory, "known-good", "full", whole, run)
    if not whole.built:
        return False
    culprits.collect(memory, config, good, lambda changed: _same(builds.build(changed), run))
    parts = parts_of(good, builds)
    for section, value in config.items():
        if not isinstance(value, dict) or value == good.get(section):
            continue
        swapped = builds.build({**good, section: value})
        if swapped is None:
            break
        memory.add(
            "section_build",
            Provenance("minimal", path=section),
            section=section,
            component=", ".join(part.name for part in components.of_section(parts, section)) or None,
            outcome="built" if swapped.built else "failed",
            same_failure=_same(swapped, run),
            exception_type=swapped.type,
            message=(swapped.message or "")[:500] or None,
        )
    return True
