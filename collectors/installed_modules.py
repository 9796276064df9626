"""Where a module of the patient's environment lies, found by its files; nothing is imported.

Knows what a search path holds: packages, namespace packages, sources, compiled modules, zip
archives, and the mappings of editable installations (setuptools writes a finder for them).
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from mlx_diagnose.collectors.syntax import parse

#: A module that is compiled: ``core.cpython-311-x86_64-linux-gnu.so``, ``core.abi3.so``, ``core.pyc``.
_COMPILED = re.compile(r"^(?P<stem>[^.]+)\.(?:[^.]+\.)?(?:so|pyd|pyc)$")
_EDITABLE = re.compile(r"^__editable__.*_finder\.py$")


@dataclass(frozen=True, slots=True)
class Place:
    """A module found. ``file`` is the source (a stub of a compiled one), None where there is none to read.

    ``folder`` is that of a package on disk.
    """

    form: Literal["source", "compiled", "namespace", "zip"]
    file: Path | None
    is_package: bool
    folder: Path | None = None


class InstalledModules:
    """The modules on a search path; the first on the path counts, as it does for Python."""

    def __init__(self, search_path: Sequence[str | Path]) -> None:
        self._path = [Path(entry) for entry in dict.fromkeys(search_path)]
        self._folders: dict[Path, frozenset[str]] = {}
        self._found: dict[str, Place | None] = {}

    def find(self, module: str) -> Place | None:
        """Where ``module`` (dotted) lies, None where it is not there."""
        if module not in self._found:
            self._found[module] = self._find(module)
        return self._found[module]

    def _find(self, module: str) -> Place | None:
        head, *rest = module.split(".")
        mapped = self._mapped.get(head)
        if mapped is not None:
            found = _below(self, mapped.parent, [mapped.name, *rest])
            if found is not None:
                return found
        namespace = None
        for entry in self._path:
            found = self._in_zip(entry, module) if entry.is_file() else _below(self, entry, [head, *rest])
            if found is not None and found.form != "namespace":
                return found
            namespace = namespace or found
        return namespace

    def listing(self, folder: Path) -> frozenset[str]:
        """The names in ``folder``, none where it cannot be read."""
        if folder not in self._folders:
            try:
                self._folders[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._folders[folder] = frozenset()
        return self._folders[folder]

    @cached_property
    def _mapped(self) -> dict[str, Path]:
        """Top-level packages of editable installations: name to place."""
        found: dict[str, Path] = {}
        for entry in self._path:
            for name in self.listing(entry):
                if _EDITABLE.match(name):
                    found.update(_mapping(entry / name))
        return found

    def _in_zip(self, archive: Path, module: str) -> Place | None:
        import zipfile  # 10 ms: only for those who have an archive on the path

        inner = module.replace(".", "/")
        try:
            with zipfile.ZipFile(archive) as opened:
                names = opened.namelist()
        except (OSError, zipfile.BadZipFile):
            return None
        if any(name.startswith(f"{inner}/") for name in names):
            return Place("zip", None, True)
        return Place("zip", None, False) if f"{inner}.py" in names or f"{inner}.pyc" in names else None


def _below(modules: InstalledModules, folder: Path, parts: Sequence[str]) -> Place | None:
    for part in parts[:-1]:
        if part not in modules.listing(folder):
            return None
        folder = folder / part
    return _in_folder(modules, folder, parts[-1])


def _in_folder(modules: InstalledModules, folder: Path, name: str) -> Place | None:
    names = modules.listing(folder)
    if name in names:
        inside = modules.listing(folder / name)
        if "__init__.py" in inside:
            return Place("source", folder / name / "__init__.py", True, folder / name)
        if any((match := _COMPILED.match(item)) and match["stem"] == "__init__" for item in inside):
            return Place("compiled", _stub(folder / name, inside, "__init__"), True, folder / name)
    if f"{name}.py" in names:
        return Place("source", folder / f"{name}.py", False)
    if any((match := _COMPILED.match(item)) and match["stem"] == name for item in names):
        inside = modules.listing(folder / name)
        return Place("compiled", _stub(folder, names, name) or _stub(folder / name, inside, "__init__"), bool(inside))
    if name in names and (folder / name).is_dir():
        return Place("namespace", None, True, folder / name)
    return None


def _stub(folder: Path, names: frozenset[str], stem: str) -> Path | None:
    return folder / f"{stem}.pyi" if f"{stem}.pyi" in names else None


def _mapping(finder: Path) -> dict[str, Path]:
    """``MAPPING`` of a finder that setuptools wrote for an editable installation."""
    try:
        tree = parse(finder.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return {}
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(t, ast.Name) and t.id == "MAPPING" for t in targets):
            try:
                mapping = ast.literal_eval(value)
            except ValueError:
                return {}
            return {str(name): Path(str(place)) for name, place in mapping.items() if "." not in str(name)}
    return {}
