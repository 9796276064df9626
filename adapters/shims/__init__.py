"""Loader shims: one module mends one defect of mlx-audio itself, in the process that loads the model.

A shim is a small piece of source that knows nothing of ours: the standard library, the patient's own
packages, syntax of older Pythons. Its ``install()`` changes the unmodified mlx-audio before the load
and returns a function that undoes it. It is sent to the patient as text, and stands as text in a
generated adapter. Its docstring says which defect, of which releases.

A module of this folder is a shim of its name, with dashes for underscores.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def names() -> tuple[str, ...]:
    """All shims, in order of name."""
    folder = resources.files("mlx_diagnose.adapters.shims")
    return tuple(
        sorted(
            entry.name.removesuffix(".py").replace("_", "-")
            for entry in folder.iterdir()
            if entry.name.endswith(".py") and not entry.name.startswith("_")
        )
    )


def source(name: str) -> str:
    """The source text of a shim. Raises KeyError for a name that is none."""
    if name not in names():
        raise KeyError(name)
    file = resources.files("mlx_diagnose.adapters.shims").joinpath(f"{name.replace('-', '_')}.py")
    return file.read_text(encoding="utf-8")
