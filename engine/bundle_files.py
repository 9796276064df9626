"""A bundle: one file that holds what a diagnosis elsewhere needs, and no more.

A zip of ``bundle.json`` (what it is of, and which files the model has), ``report.json``, and under
``model/`` the small text files of the model and the headers of its safetensors files. No weights;
tokens are cut out; paths are shortened to what they are (MODEL, HUB, ENV, ~).

A bundle comes from a stranger as well: nothing in it becomes a path outside the folder it is
unpacked into, and what is read of it is bounded.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.hub_names import is_safe
from mlx_diagnose.collectors.safetensors_header import header_size
from mlx_diagnose.collectors.target import cache_directory
from mlx_diagnose.engine.model import Report, UsageError
from mlx_diagnose.engine.report.json import InvalidReport, from_json, to_json
from mlx_diagnose.engine.report.sanitise import one_line, redact

VERSION = "1"
MANIFEST, REPORT, MODEL = "bundle.json", "report.json", "model/"

#: Text files that go in whole, and how large one may be; files of a model that are listed; bytes that are read.
_TEXTS = (".json", ".yaml", ".yml", ".jinja")
_LARGEST_TEXT = 1 << 20
_MAX_FILES = 2_000
_MAX_READ = 256 << 20
#: The largest file that a hole may stand for, in bytes.
_LARGEST_HOLE = 1 << 40


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds besides the model's files. ``files`` are the sizes of all of the model's files."""

    model: str
    name: str
    report: Report
    files: Mapping[str, int]
    config: Any


def is_bundle(word: str) -> bool:
    """Whether ``word`` is a file that may be a bundle."""
    path = Path(word).expanduser()
    return path.is_file() and zipfile.is_zipfile(path)


# -- writing ----------------------------------------------------------------------------------------


def write(path: Path, report: Report) -> None:
    """Write the bundle of ``report`` and of the model that it is about. Raises OSError."""
    directory = Path(report.target.path) if report.target.path is not None else None
    files = dict(_files(directory)) if directory is not None else {}
    name = report.target.model.rstrip("/").split("/")[-1]
    if report.target.source == "directory" and directory is not None:
        name = directory.name
    shorten = _Shortener(directory, report)
    manifest = {
        "bundle_version": VERSION,
        "tool": {"name": "diagnose", "version": report.tool_version},
        "model": shorten(report.target.model),
        "name": name,
        "files": [{"name": file, "size": size} for file, size in files.items()],
    }
    partial = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(MANIFEST, json.dumps(manifest, indent=1))
            bundle.writestr(REPORT, json.dumps(shorten(to_json(report)), indent=1))
            for file, size in files.items():
                assert directory is not None
                content = _content(directory / file, size)
                if content is not None:
                    bundle.writestr(MODEL + file, content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _files(directory: Path) -> Iterator[tuple[str, int]]:
    """The model's files, those of folders in it too, with their sizes."""
    count = 0
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            inside = file.relative_to(directory).as_posix()
            if not is_safe(inside) or not file.is_file():
                continue
            count += 1
            if count > _MAX_FILES:
                return
            yield inside, file.stat().st_size


def _content(file: Path, size: int) -> bytes | None:
    """What goes in of a file: a small text without secrets, or the header of weights."""
    with file.open("rb") as stream:
        if file.suffix == ".safetensors":
            first = stream.read(8)
            length = header_size(first) or 512
            return first + stream.read(min(length, size) - len(first)) if length <= _MAX_READ else first
        if file.suffix in _TEXTS and size <= _LARGEST_TEXT:
            # Byte for byte, whatever the encoding: what is wrong with it may be what is looked for.
            return redact(stream.read().decode("latin-1")).encode("latin-1")
    return None


class _Shortener:
    """Puts names in place of the folders of this machine and this user."""

    def __init__(self, directory: Path | None, report: Report) -> None:
        prefix = os.path.dirname(os.path.dirname(report.patient.executable))
        home = os.path.expanduser("~")
        places = {home: "~", prefix: "ENV", str(cache_directory()): "HUB"}
        if directory is not None:
            places[str(directory)] = "MODEL"
        named = {variant: short for place, short in places.items() for variant in (place, os.path.realpath(place))}
        self._places = sorted(
            ((place, short) for place, short in named.items() if len(place) > 1), key=lambda pair: -len(pair[0])
        )

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            for place, short in self._places:
                value = value.replace(place, short)
            return value
        if isinstance(value, Mapping):
            return {key: self(item) for key, item in value.items()}
        return [self(item) for item in value] if isinstance(value, (list, tuple)) else value


# -- reading ----------------------------------------------------------------------------------------


def read(word: str) -> Bundle:
    """The bundle in the file ``word``. Raises UsageError for what is none."""
    try:
        with zipfile.ZipFile(Path(word).expanduser()) as archive:
            manifest = json.loads(_entry(archive, MANIFEST))
            report = from_json(json.loads(_entry(archive, REPORT)))
            files = {str(file["name"]): int(file["size"]) for file in manifest["files"][:_MAX_FILES]}
            name, version = str(manifest["name"]), manifest["bundle_version"]
            try:
                config = json.loads(_entry(archive, f"{MODEL}config.json"))
            except (KeyError, ValueError):
                config = None
    except (OSError, KeyError, TypeError, ValueError, RecursionError, InvalidReport, zipfile.BadZipFile) as error:
        raise _no_bundle(word, f"{type(error).__name__}: {error}") from None
    if version != VERSION:
        raise _no_bundle(word, f"its version is {version!r}; this diagnose reads {VERSION!r}")
    return Bundle(str(manifest["model"]), name if is_safe(name) and "/" not in name else "model", report, files, config)


def unpack(word: str, folder: Path) -> Path:
    """The model of the bundle ``word`` as a directory in ``folder``: headers are true, the rest of a file is a hole."""
    bundle = read(word)
    directory = folder / bundle.name
    directory.mkdir()
    left = _MAX_READ
    with zipfile.ZipFile(Path(word).expanduser()) as archive:
        inside = {entry.filename: entry for entry in archive.infolist()}
        for file, size in bundle.files.items():
            if not is_safe(file) or not 0 <= size <= _LARGEST_HOLE:
                continue
            place = directory / file
            place.parent.mkdir(parents=True, exist_ok=True)
            entry = inside.get(MODEL + file)
            with place.open("wb") as target:
                if entry is not None and entry.file_size <= left:
                    left -= entry.file_size
                    with archive.open(entry) as source:
                        target.write(source.read(entry.file_size))
                if entry is None or file.endswith(".safetensors"):
                    target.truncate(size)
    return directory


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry, if it is no larger than a bundle's may be."""
    entry = archive.getinfo(name)
    if entry.file_size > _MAX_READ:
        raise ValueError(f"{name} is too large")
    with archive.open(entry) as source:
        return source.read(entry.file_size)


def _no_bundle(word: str, why: str) -> UsageError:
    return UsageError(
        "not-a-bundle",
        f"{word} is no bundle that can be read.",
        why=one_line(why),
        next_step="A bundle is what `diagnose bundle save MODEL` writes.",
    )
