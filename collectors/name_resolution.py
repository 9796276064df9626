"""How the installed mlx-audio gets from a config and a name to a family, predicted from its source.

The rule changed over the releases; which one is installed is told by the shape of the function
that resolves (``mlx_audio/utils.py::get_model_class``, before 0.3 ``mlx_audio/tts/utils.py::get_model_and_args``).
What the probe saw happen always counts more than this.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mlx_diagnose.collectors.probes import installed
from mlx_diagnose.collectors.syntax import parse

#: type-only: remapping alone (0.0.x); name-first: name parts always override (0.2.0 to 0.2.6);
#: name-unless-same: they do, unless the type is mapped onto itself (0.2.8 to 0.5.9);
#: remapping-first: they count only where the type is not remapped (0.6.0 and later).
Style: TypeAlias = Literal["type-only", "name-first", "name-unless-same", "remapping-first"]

_RESOLVERS = ("get_model_class", "get_model_and_args")


@dataclass(frozen=True, slots=True)
class Resolver:
    """``maps`` says that a mapping is applied where no name part decides; ``all_parts`` that joined parts count too."""

    style: Style
    maps: bool
    all_parts: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """``via`` is remapping, declared, name-part, name-part-remapping, first-name-part or none."""

    family: str
    via: str
    part: str | None = None


def resolver_of(mlx_audio_dir: Path, category: str) -> Resolver:
    """The resolver of the installed mlx-audio; of one that cannot be read, the newest is assumed."""
    all_parts = False
    for file in (mlx_audio_dir / "utils.py", mlx_audio_dir / category / "utils.py"):
        tree = _parsed(file)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree is not None else []
        all_parts = all_parts or any(
            node.name == "get_model_name_parts" and "dash_parts" in ast.unparse(node) for node in functions
        )
        for node in functions:
            if node.name in _RESOLVERS and "import_module" in ast.unparse(node):
                return _resolver(node, all_parts)
    return Resolver("remapping-first", True, True)


def _resolver(node: ast.FunctionDef, all_parts: bool) -> Resolver:
    text = ast.unparse(node)
    if "model_name" not in {argument.arg for argument in node.args.args}:
        return Resolver("type-only", True, all_parts)
    if "model_type_mapped != model_type" in text:
        return Resolver("name-unless-same", "elif model_type_mapped is not None" in text, all_parts)
    if re.search(r"^ *if model_type_mapped is not None:", text, re.MULTILINE):
        return Resolver("remapping-first", True, all_parts)
    return Resolver("name-first", True, all_parts)


def _parsed(file: Path) -> ast.Module | None:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None


def name_parts(name: str, all_parts: bool) -> list[str]:
    """The parts of a directory or repository name, as ``mlx_audio/utils.py::get_model_name_parts`` makes them.

    Without ``all_parts``, as before 0.5: what stands between dashes.
    """
    pieces = name.lower().split("-")
    if not all_parts:
        return pieces
    pieces = [piece for piece in pieces if piece]
    parts: dict[str, None] = {}
    for piece in pieces:
        if piece in parts:
            continue
        parts[piece] = None
        subparts = piece.split("_") if "_" in piece else []
        parts.update(dict.fromkeys([*filter(None, subparts), re.sub(r"[^a-z0-9]+", "", piece)]))
    for start in range(len(pieces)):
        for end in range(start + 2, len(pieces) + 1):
            parts.update(dict.fromkeys(["_".join(pieces[start:end]), "".join(pieces[start:end])]))
    return [part for part in parts if part]


#: Keys that tell MiMo Audio from the language model that its config names.
MIMO_KEYS = frozenset(installed.MIMO_KEYS)


def effective_type(config: Mapping[str, Any], category: str = "tts") -> str | None:
    """The type that the newest loader of ``category`` reads out of a config."""
    declared = declared_type(config)[0]
    if declared == "llama" and "acoustic_dim" in config:
        return "tada"  # mlx_audio/utils.py::base_load_model
    told = installed.inferred_type(config)
    # Only the loader of speech to speech tells more families by their keys than these two.
    return told if declared is not None or category == "sts" or told in ("pocket_tts", "mimo_audio") else None


def declared_type(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The declared type and the key it stands under."""
    for key in ("model_type", "architecture"):
        value = config.get(key)
        if isinstance(value, str) and value:
            return value, key
    return None, None


def predict(
    resolver: Resolver,
    declared: str | None,
    parts: Sequence[str],
    families: Collection[str],
    remapping: Mapping[str, str],
) -> Outcome:
    """The family that the loader will try to import."""
    first = parts[0] if parts else ""
    start = Outcome(declared, "declared") if declared is not None else Outcome(first, "first-name-part", first or None)
    mapped = remapping.get(start.family)
    remapped = start if mapped is None or mapped == start.family else Outcome(mapped, "remapping")
    if resolver.style == "type-only" or (resolver.style == "remapping-first" and mapped is not None):
        return remapped
    if resolver.style == "name-unless-same" and mapped is not None and mapped == start.family:
        return start
    # The name counts from the mapped type where mapping came first, else from the type as it stood.
    outcome = remapped if resolver.style == "name-first" else start
    for part in parts:
        if part in families:
            outcome = Outcome(part, "name-part", part)
        if part in remapping:
            return Outcome(remapping[part], "name-part-remapping", part)
    return outcome


def explain(
    resolved: str, declared: str | None, parts: Sequence[str], remapping: Mapping[str, str], predicted: Outcome
) -> Outcome:
    """How ``resolved``, which the probe saw, came about: as predicted, else the nearest way that gives it."""
    if predicted.family == resolved:
        return predicted
    if declared == resolved:
        return Outcome(resolved, "declared")
    if declared is not None and remapping.get(declared) == resolved:
        return Outcome(resolved, "remapping")
    for part in parts:
        if part == resolved:
            return Outcome(resolved, "name-part", part)
        if remapping.get(part) == resolved:
            return Outcome(resolved, "name-part-remapping", part)
    return Outcome(resolved, "none")
