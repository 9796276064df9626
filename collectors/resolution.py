"""Which family the loader takes for a model, how it came to it, and which others the config would fit."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.config import ALTERNATIVES, NAME
from mlx_diagnose.collectors.name_resolution import (
    declared_type,
    effective_type,
    explain,
    name_parts,
    predict,
    resolver_of,
)
from mlx_diagnose.collectors.probes import installed
from mlx_diagnose.collectors.syntax import parse
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.type_candidates import Candidate, candidates, later_by_marks
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact, Provenance

_NAME = "resolution"
#: Source files of one codec that are read.
_MOST_FILES = 100


def collect(
    memory: WorkingMemory,
    *,
    mlx_audio_dir: Path | None,
    category: str,
    directory_name: str,
    config: Mapping[str, Any] | None,
    observed: Mapping[str, Any] | None = None,
) -> None:
    """Assert loader, family, resolution and type_candidate.

    ``directory_name`` is what the loader takes name parts from. ``observed`` is what the probe
    saw: module, function, strict, shared (the load function), asked, name_parts, resolved (what
    it did); whatever it lacks is predicted from the sources. Without a config that can be read and
    without an observation there is no resolution to tell.
    """
    seen = observed or {}
    _assert_loader(memory, mlx_audio_dir, seen)
    if mlx_audio_dir is None:
        return
    folder = str(mlx_audio_dir)
    families = installed.families(folder, category)
    for family in families:
        memory.add("family", Provenance(_NAME, file=f"{folder}/{category}/models"), category=category, name=family)
    if config is None and not seen.get("resolved"):
        return
    resolution = _assert_resolution(memory, mlx_audio_dir, category, directory_name, config or {}, seen)
    _assert_candidates(memory, mlx_audio_dir, category, config or {}, resolution)
    if category == "codec" and resolution["family_exists"]:
        _assert_config_reads(memory, mlx_audio_dir / category / "models" / str(resolution["resolved"]))


def _assert_config_reads(memory: WorkingMemory, package: Path) -> None:
    """Which files that hold a config the code of a codec names: no loader that they share reads one for them."""
    for file in sorted(package.rglob("*.py"))[:_MOST_FILES]:
        try:
            tree = parse(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in (NAME, *ALTERNATIVES):
                at = Provenance(_NAME, file=str(file), line=node.lineno)
                memory.add("config_read", at, file=str(node.value), family=package.name)


def _assert_loader(memory: WorkingMemory, mlx_audio_dir: Path | None, seen: Mapping[str, Any]) -> None:
    if not seen.get("module"):
        return
    strict = seen.get("strict")
    memory.add(
        "loader",
        Provenance(_NAME),
        module=str(seen["module"]),
        function=str(seen.get("function") or "load_model"),
        strict=strict if isinstance(strict, bool) else None,
        mlx_audio_version=installed.version(str(mlx_audio_dir)) if mlx_audio_dir is not None else None,
        shared=bool(seen.get("shared")),
    )


def _assert_resolution(
    memory: WorkingMemory,
    mlx_audio_dir: Path,
    category: str,
    directory_name: str,
    config: Mapping[str, Any],
    seen: Mapping[str, Any],
) -> Fact:
    folder = str(mlx_audio_dir)
    remapping = installed.remapping(folder, category)
    resolver = resolver_of(mlx_audio_dir, category)
    parts = [str(part) for part in seen.get("name_parts") or name_parts(directory_name, resolver.all_parts)]
    declared, key = declared_type(config)
    effective = effective_type(config, category)
    asked = seen.get("asked")
    if isinstance(asked, str) and (declared is not None or asked not in parts[:1]):
        effective = asked
    outcome = predict(resolver, effective, parts, installed.families(folder, category), remapping)
    if seen.get("resolved"):
        outcome = explain(str(seen["resolved"]), effective, parts, remapping, outcome)
    own = remapping.get(effective, effective) if effective is not None else None
    own_exists = own is not None and _exists(folder, category, own)
    return memory.add(
        "resolution",
        Provenance(_NAME, path=key),
        declared=clean(declared, 200) if declared is not None else None,
        declared_key=key,
        resolved=clean(outcome.family, 200),
        via=outcome.via,
        name_part=clean(outcome.part, 200) if outcome.part is not None else None,
        family_exists=_exists(folder, category, outcome.family),
        declared_exists=declared is not None and own_exists,
        declared_family=own if own_exists else None,
        declared_usual=declared is not None
        and _exists(folder, category, outcome.family)
        and declared == _usual_type(outcome.family, category),
        category=category,
    )


def _usual_type(family: str, category: str) -> object:
    """The type that the known-good configuration of ``family`` declares."""
    from mlx_diagnose.knowledge_base.configurations import known_config

    known = known_config(family, category)
    return declared_type(known)[0] if known is not None else None


def _exists(folder: str, category: str, family: str) -> bool:
    # What is no module name (with a slash, or an empty part) could lead the look-up anywhere.
    return "/" not in family and all(family.split(".")) and installed.has_family(folder, category, family)


def _assert_candidates(
    memory: WorkingMemory, mlx_audio_dir: Path, category: str, config: Mapping[str, Any], resolution: Fact
) -> None:
    declared = declared_type(config)[0]
    # Where a name led somewhere, that it was wrong shows only by a failure behind it.
    if resolution["family_exists"]:
        stages = {"name": "construct"} if declared is not None else {}
        if not memory.of("stage", status="failed", **stages):
            return
        # The declared type was taken and does not fit: it is no hint to another.
        declared = None
    named = str(resolution["resolved"]) if resolution["family_exists"] else None
    found = [
        candidate
        for candidate in candidates(mlx_audio_dir, category, declared, config, named)
        if not (
            resolution["family_exists"] and (candidate.category, candidate.family) == (category, resolution["resolved"])
        )
    ]
    marked = effective_type(config)
    if not resolution["family_exists"] and declared is not None and marked is not None and marked != declared:
        found = [*filter(None, [later_by_marks(mlx_audio_dir, category, declared, marked)]), *found]
    best = _best(found)
    for candidate in found:
        memory.add(
            "type_candidate",
            Provenance(_NAME),
            declared=clean(declared, 200) if declared is not None else None,
            family=candidate.family,
            category=candidate.category,
            reason=candidate.reason,
            score=candidate.score,
            since=candidate.since,
            best=candidate is best,
        )


def _best(found: list[Candidate]) -> Candidate | None:
    """The one that scores highest; None if another family scores as high."""
    if not found:
        return None
    best = max(found, key=lambda candidate: candidate.score)
    rivals = {(c.category, c.family) for c in found if c.score == best.score}
    return best if len(rivals) == 1 else None
