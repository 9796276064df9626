"""The signatures of all families of a release of mlx-audio, read from its source: one document a family.

The release is a folder ``mlx_audio``, of any age: categories and families are the folders that it
has. Documents written to a folder are read back as they were.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.loader_source import describe_loader
from mlx_diagnose.collectors.probes import installed

Document = dict[str, Any]

FORMAT = 1
_MAX_FILE = 32 * 2**20


@dataclass(frozen=True, slots=True)
class Release:
    """A release by its folder ``mlx_audio``; ``search_path`` is where the packages that it builds on lie."""

    folder: Path
    search_path: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """The version that the package gives itself."""
        return installed.version(str(self.folder))

    def families(self) -> list[tuple[str, str]]:
        """Category and family, in the order of the categories."""
        folder = str(self.folder)
        return [
            (category, family) for category in installed.CATEGORIES for family in installed.families(folder, category)
        ]

    def describe(self, category: str, family: str) -> Document:
        """The document of one family. Never raises for what the sources hold. Shape::

            {"format": 1, "mlx_audio": version, "category", "family", "module",
             "loader": as in loader_source, "classes": as in class_signatures,
             "sections": [{"class_name", "module", "sections", "unknown_keys", "conditional", "parameters", ...}],
             "reads": [...], "dependencies": [...], "unreadable": [...], "reasons": [...]}

        ``sections`` says which class takes which part of config.json; files are relative to the
        folder that ``mlx_audio`` or the other package lies in.
        """
        from mlx_diagnose.collectors.sources import describe_source

        try:
            found = describe_source(self.folder, category, family, self.search_path)
        except Exception as error:  # one family must not end the others
            found = {"module": f"mlx_audio.{category}.models.{family}", "reasons": [f"{type(error).__name__}: {error}"]}
        document = {
            "format": FORMAT,
            "mlx_audio": self.version,
            "category": category,
            "family": family,
            "module": found["module"],
            "loader": describe_loader(self.folder, category),
            "classes": found.get("signatures", []),
            "sections": found.get("classes", []),
            "reads": found.get("uses", []),
            "dependencies": found.get("dependencies", []),
            "unreadable": found.get("unreadable", []),
            "reasons": found["reasons"],
        }
        return {key: self._relative(value) for key, value in document.items()}

    def _relative(self, value: Any) -> Any:
        """``value`` with its ``file`` entries relative."""
        if isinstance(value, list):
            return [self._relative(item) for item in value]
        if isinstance(value, dict):
            return {
                key: self._short(item) if key == "file" and isinstance(item, str) else self._relative(item)
                for key, item in value.items()
            }
        return value

    def _short(self, file: str) -> str:
        for base in (str(self.folder.parent), *self.search_path):
            if base and file.startswith(base.rstrip(os.sep) + os.sep):
                return Path(file).relative_to(base).as_posix()
        return file


def read_documents(folder: Path) -> Iterator[Document]:
    """The family documents below ``folder``; other files are passed over."""
    for file in sorted(folder.glob("*.json")) + sorted(folder.glob("*/*.json")):
        try:
            if file.stat().st_size > _MAX_FILE:
                continue
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if (
            isinstance(document, dict)
            and document.get("format") == FORMAT
            and isinstance(document.get("classes"), list)
        ):
            yield document


def release_in(directory: Path) -> Path | None:
    """The folder ``mlx_audio`` that ``directory`` is or holds, None where there is none."""
    for folder in (directory, directory / "mlx_audio"):
        if folder.name == "mlx_audio" and any(
            (folder / category / "models").is_dir() for category in installed.CATEGORIES
        ):
            return folder
    return None


def counts(document: Mapping[str, Any]) -> dict[str, int]:
    """Numbers for a summary: classes, parameters, reads, dependencies."""
    classes: Sequence[Mapping[str, Any]] = document["classes"]
    return {
        "classes": len(classes),
        "parameters": sum(len(cls["parameters"]) for cls in classes),
        "reads": len(document["reads"]),
        "dependencies": len(document["dependencies"]),
    }
