"""All that a mend would change, as text, without writing anything."""

from __future__ import annotations

from pathlib import Path

from mlx_diagnose.adapters import mended_weights
from mlx_diagnose.adapters.config_text import patch_text
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.tensor_recipe import Recipe, Stored, stored
from mlx_diagnose.adapters.unified_diff import unified_diff

_TENSORS_SHOWN = 40


def preview(original: Path, mend: Mend, target: Path) -> str:
    """What :func:`.model_directory.write_directory` would make. Raises UnwritableError where it cannot."""
    parts = [f"{target} would be made of {original}; the original stays as it is.\n"]
    if mend.config_patch:
        old = (original / "config.json").read_text(encoding="utf-8")
        parts.append(unified_diff(old, patch_text(old, mend.config_patch), "config.json"))
    parts += [f"{_quoted(name)} would be taken from {_quoted(path)}\n" for name, path in mend.copies.items()]
    weights = mended_weights.plan(original, mend.weight_map)
    for name, recipes in weights.files.items():
        held = next(header for path, header in weights.sources.items() if path.name == name).tensors
        changed = [(new, recipe) for new, recipe in recipes.items() if not _as_stored(new, recipe)]
        used = {leaf.name for recipe in recipes.values() for leaf in stored(recipe)}
        rows = [f"- {_quoted(old)}" for old in held if old not in used]
        rows += [f"+ {_quoted(new)}: {recipe.dtype} {recipe.shape} from {_sources(recipe)}" for new, recipe in changed]
        shown = rows[:_TENSORS_SHOWN]
        more = [f"and {len(rows) - len(shown)} tensors more"] if len(rows) > len(shown) else []
        parts.append("\n".join([f"{name} would be written again: {len(changed)} tensors change", *shown, *more]) + "\n")
    parts.extend(f"{name} would name the files of the tensors anew\n" for name in weights.indices)
    return "\n".join(parts)


def _as_stored(name: str, recipe: Recipe) -> bool:
    return isinstance(recipe, Stored) and recipe.name == name


def _sources(recipe: Recipe) -> str:
    names = list(dict.fromkeys(_quoted(leaf.name) for leaf in stored(recipe)))
    return ", ".join(names[:4] + ["..."] * (len(names) > 4)) or "nothing: it is computed"


def _quoted(name: str) -> str:
    return ascii(name)
