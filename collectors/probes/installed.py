"""What the installed mlx-audio has, read from its files without importing it."""

from __future__ import annotations

import ast
import json
import os
import sys
from typing import Any, Dict, List, Optional

#: Order of preference of ``mlx_audio/utils.py::get_model_category``.
CATEGORIES = ("tts", "stt", "sts", "lid", "vad", "music", "codec")


def package_directory() -> Optional[str]:
    """Where ``import mlx_audio`` would find its package, or None."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is None:
            continue
        try:
            spec = find("mlx_audio", None)
        except Exception:
            continue
        if spec is not None:
            places = list(spec.submodule_search_locations or [])
            return places[0] if places else None
    return None


def version(directory: str) -> Optional[str]:
    """``__version__`` of ``mlx_audio/version.py``."""
    try:
        with open(os.path.join(directory, "version.py"), encoding="utf-8") as file:
            for line in file:
                if line.startswith("__version__"):
                    return line.split("=", 1)[1].strip().strip("\"'")
    except (OSError, UnicodeDecodeError):
        pass
    return None


def remapping(directory: str, category: str) -> Dict[str, str]:
    """``MODEL_REMAPPING`` of a category, as far as it is a literal (also those of old releases)."""
    path = os.path.join(directory, category, "utils.py")
    try:
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, UnicodeDecodeError):
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "MODEL_REMAPPING" for t in node.targets
        ):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                return {}
            return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}
    return {}


def families(directory: str, category: str) -> List[str]:
    """Model folders (and single-file models) of a category."""
    models = os.path.join(directory, category, "models")
    try:
        names = os.listdir(models)
    except OSError:
        return []
    found = []
    for name in sorted(names):
        if name.startswith(("_", ".")):
            continue
        if os.path.isdir(os.path.join(models, name)):
            found.append(name)
    return found


def name_parts(name: str) -> List[str]:
    """The parts of a directory or repository name that may name a family."""
    parts: List[str] = []
    pieces = [piece for piece in name.lower().split("-") if piece]
    for piece in pieces:
        parts.append(piece)
        parts.extend(part for part in piece.split("_") if part)
    for start in range(len(pieces)):
        for end in range(start + 2, len(pieces) + 1):
            parts.extend(("_".join(pieces[start:end]), "".join(pieces[start:end])))
    return list(dict.fromkeys(parts))


def category_of(directory: str, config: Any, name: str) -> str:
    """The category whose loader a user of this model would call.

    As ``mlx_audio/utils.py::get_model_category``: an explicit remapping of the type or of a name
    part wins, in the order of :data:`CATEGORIES`; then a family of that very name; else tts.
    """
    declared = None
    if isinstance(config, dict):
        declared = config.get("model_type") or config.get("architecture")
    hints = ([declared] if isinstance(declared, str) else []) + name_parts(name)
    present = [category for category in CATEGORIES if os.path.isdir(os.path.join(directory, category, "models"))]
    for category in present:
        known = remapping(directory, category)
        if any(hint in known for hint in hints):
            return category
    for category in present:
        known_families = families(directory, category)
        if any(hint in known_families for hint in hints):
            return category
    return "tts"


def has_family(directory: str, category: str, name: str) -> bool:
    """Whether the category has a module of that name: a folder, a file, or a compiled file."""
    path = os.path.join(directory, category, "models", *name.split("."))
    return os.path.isdir(path) or any(os.path.isfile(path + ending) for ending in (".py", ".pyc"))


def read_config(directory: Optional[str]) -> Any:
    """config.json for the choice of a category; None where it cannot be read, which the load will tell."""
    if directory is None:
        return None
    try:
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
