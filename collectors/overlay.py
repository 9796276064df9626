"""Scratch copies of a model directory in which a change is tried; the original is never touched.

A copy links to everything unchanged and holds only what is changed. It keeps the name of the
original, because a directory's name steers mlx-audio's resolution.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mlx_diagnose.collectors.tensors import TensorTable, safetensors_dtype
from mlx_diagnose.engine.specimen import write_safetensors


class Overlays:
    """A folder of scratch copies of one model directory; removed on leaving the context."""

    def __init__(self, original: Path, name: str) -> None:
        self._original = original
        self._name = name
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> Overlays:
        self._folder = tempfile.TemporaryDirectory(prefix="diagnose-trial-", ignore_cleanup_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._folder is not None
        self._folder.cleanup()

    def as_it_is(self) -> Path:
        """A copy in which nothing is changed: a snapshot of the hub cache under the name of its repository."""
        return self._make(())

    def with_config(
        self,
        config: Mapping[str, Any],
        weights: Mapping[str, TensorTable] | None = None,
        copies: Mapping[str, str] | None = None,
    ) -> Path:
        """A copy whose config.json holds ``config``, and each file of ``weights`` the tensors said.

        ``copies`` are files that it has besides: links to the paths said.
        Of those only names, types and shapes are real: the values are a hole. An index of shards
        would name tensors that are gone, so the copy has none.
        """
        copies = copies or {}
        if not weights:
            copy = self._make({"config.json", *copies})
            (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
            self._link(copy, copies)
            return copy
        indexes = [entry for entry in os.listdir(self._original) if entry.endswith(".index.json")]
        copy = self._make({"config.json", *weights, *indexes, *copies})
        self._link(copy, copies)
        (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
        for file, tensors in weights.items():
            table = {name: (safetensors_dtype(info.dtype), info.shape) for name, info in tensors.items()}
            write_safetensors(copy / file, table, metadata={"format": "pt"})
        return copy

    def _link(self, copy: Path, copies: Mapping[str, str]) -> None:
        for name, path in copies.items():
            if Path(path).parent == self._original:  # it is renamed, and to the file system that may be one name
                (copy / Path(path).name).unlink(missing_ok=True)
            place = copy / name
            if not place.parent.exists():
                place.parent.mkdir(parents=True)
            elif place.parent.is_symlink():  # a folder of the original, which stays as it is
                original = place.parent.readlink()
                place.parent.unlink()
                place.parent.mkdir()
                for entry in original.iterdir():
                    (place.parent / entry.name).symlink_to(entry)
            place.symlink_to(path)

    def with_contents(self, contents: Mapping[str, bytes], only: Collection[str] | None = None) -> Path:
        """A copy in which files have other ``contents``; of the rest everything is there, or ``only`` these."""
        copy = self._make(contents.keys(), only)
        for name, content in contents.items():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(content)
        return copy

    def with_holes(self, files: Mapping[str, int]) -> Path:
        """A copy in which each of ``files`` is as long as said: its beginning as it is, the rest a hole.

        Costs the disk what the original file holds of its header, however long the result.
        """
        copy = self._make(files.keys())
        for name, size in files.items():
            with (self._original / name).open("rb") as source, (copy / name).open("wb") as target:
                header = 8 + int.from_bytes(source.read(8), "little")
                source.seek(0)
                target.write(source.read(header))
                target.truncate(size)
        return copy

    def _make(self, changed: Collection[str], only: Collection[str] | None = None) -> Path:
        assert self._folder is not None
        self._count += 1
        copy = Path(self._folder.name, str(self._count), self._name)
        copy.mkdir(parents=True)
        with os.scandir(self._original) as entries:
            for entry in entries:
                if entry.name not in changed and (only is None or entry.name in only):
                    # To the entry itself, not where it leads: snapshots are links into blobs.
                    os.symlink(os.path.abspath(entry.path), copy / entry.name)
        return copy
