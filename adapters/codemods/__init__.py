"""Changes of mlx-audio's own source, one module a kind of defect; the patches for upstream are made with them.

A module of this folder is a codemod of its name, with dashes for underscores. It has ``TITLE``
(what the patch does), ``CAUSE`` (what is wrong, for the issue), and ``transform(source, line)``, which
returns the changed source, or the same text where there is nothing (any more) to change. What is
not changed stays byte for byte: the changes are made in the concrete syntax tree of LibCST.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Protocol

from mlx_diagnose.adapters import codemods


class Codemod(Protocol):
    """What a module of this folder holds."""

    TITLE: str
    CAUSE: str

    def transform(self, source: str, line: int | None) -> str:
        """``source`` changed; ``line`` is where it failed, for defects of one place."""

    def regression_test(self, module: str) -> str:
        """A test for upstream that fails without the change; ``module`` is the dotted name of what was changed."""


def names() -> list[str]:
    """All codemods, in order of name."""
    modules = (module.name for module in pkgutil.iter_modules(codemods.__path__))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def codemod(name: str) -> Codemod:
    """The codemod ``name``. Raises ModuleNotFoundError for one that there is not."""
    module: Codemod = import_module(f"{codemods.__name__}.{name.replace('-', '_')}")  # type: ignore[assignment]
    return module
