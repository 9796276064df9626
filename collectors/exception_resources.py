"""Compiled libraries that do not load and files that are not there, as exceptions tell them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.exception_scene import Scene
from mlx_diagnose.collectors.knowledge import distribution_of
from mlx_diagnose.collectors.origins import origin_of
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.model import Provenance

#: (what, pattern); the group ``library`` is the file or symbol. First match wins.
_NATIVE: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("missing-library", re.compile(r"(?P<library>[^\s:'\"]+\.so[.\d]*): cannot open shared object file")),
    ("missing-library", re.compile(r"Library not loaded: (?P<library>\S+)")),
    ("missing-library", re.compile(r"DLL load failed while importing (?P<library>\w+)")),
    ("missing-library", re.compile(r"cannot load library '(?P<library>[^']+)'")),
    ("missing-symbol", re.compile(r"[Ss]ymbol not found(?: in flat namespace)?:? \(?'?(?P<library>[\w$.]+)")),
    ("missing-symbol", re.compile(r"undefined symbol: (?P<library>[\w$.@]+)")),
    ("abi-mismatch", re.compile(r"(?P<library>numpy\.\w+) size changed, may indicate binary incompatibility")),
    ("abi-mismatch", re.compile(r"compiled (?:against|using) (?P<library>(?:ABI|API) version|NumPy 1\.x)")),
    ("abi-mismatch", re.compile(r"(?P<library>numpy\.core\.multiarray|_ARRAY_API)(?: failed to import| not found)")),
    ("abi-mismatch", re.compile(r"(?P<library>\S+)' \(mach-o file, but is an incompatible architecture")),
    ("abi-mismatch", re.compile(r"(?P<library>[^\s:]+): (?:invalid|wrong) ELF (?:header|class)")),
    ("abi-mismatch", re.compile(r"version `(?P<library>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)' not found")),
    ("no-backend", re.compile(r"^\[(?P<library>[\w:]+)\] .*\b(?:[Nn]o|without) (?:\w+ )?back-?end")),
    ("no-backend", re.compile(r"^\[(?P<library>[\w:]+)\] .*back-?end is not available")),
    (
        "missing-kernel",
        re.compile(r"^\[metal::Device\] Unable to (?:load|create|build) .*?(?P<library>[\w.]+)\s*$", re.M),
    ),
    (
        "missing-kernel",
        re.compile(r"^\[metal::Device\] Unable to (?P<library>build metal library|load (?:function|kernel))"),
    ),
    ("missing-kernel", re.compile(r"Function (?P<library>\w+) was not found in the (?:metal )?library")),
)
_WANTED_FILE = (
    # sentencepiece, whose errors are those of absl.
    re.compile(r"^(?:NOT_FOUND|Not found): \"(?P<file>[^\"]+)\": No such file or directory"),
    # A folder of the model that is not there is a strange repository id to transformers and huggingface_hub.
    re.compile(r"^Repo id must [^']*(?:'[^']*'[^']*)*: '(?P<file>/[^']+)'"),
    re.compile(r"\[Errno 2\] No such file or directory: '(?P<file>[^']+)'"),
    re.compile(r"Failed to open (?:file )?(?P<file>\S.*)$"),
    re.compile(r"does not appear to have a file named (?P<file>[\w./\-]+?)\.?(?:\s|$)"),
    re.compile(r"not found:?(?: at)? (?P<file>[~.]?/\S.*)$"),
    re.compile(r"(?P<file>(?:[~.]?/)?[\w\-./]*\.\w{2,11}) (?:is |was )?(?:not found|does not exist|missing)\b"),
    re.compile(
        r"(?:[Nn]o|[Mm]issing|find|not found) (?:file )?['\"]?"
        r"(?P<file>[\w\-./]+\.(?:json|model|txt|pth|pt|npz|safetensors|yaml|tiktoken|bin|wav))\b"
    ),
)


def read(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """Assert native_error and file_wanted."""
    if _native_error(scene, doc, at):
        return
    if doc.is_a("FileNotFoundError", "OSError", "NotADirectoryError", "HFValidationError") or _failed_to_open(doc):
        _file_wanted(scene, doc, at)


def _native_error(scene: Scene, doc: ExceptionDoc, at: Provenance) -> bool:
    if doc.is_a("ModuleNotFoundError") or not doc.is_a(
        "ImportError", "OSError", "ValueError", "RuntimeError", "AttributeError", "SystemError"
    ):
        return False
    for what, pattern in _NATIVE:
        match = pattern.search(doc.message[:4000])
        if match:
            scene.memory.add(
                "native_error",
                at,
                stage=doc.stage,
                what=what,
                library=clean(match["library"], 300),
                package=_package(doc, what),
                message=clean(doc.message, 500),
            )
            return True
    return False


def _package(doc: ExceptionDoc, what: str) -> str | None:
    """The distribution whose compiled part it is."""
    if what in ("no-backend", "missing-kernel"):
        return "mlx"
    path = doc.attribute("path") or next(iter(re.findall(r"/\S*?(?:site|dist)-packages/[^\s:',)]+", doc.message)), None)
    if path:
        owner = origin_of(path).package
        if owner:
            return owner
    module = doc.attribute("name")
    if module:
        return distribution_of(module)
    frame = doc.innermost
    if frame is None:
        return None
    imported = re.match(r"(?:import|from)\s+([A-Za-z_][\w.]*)", frame.source)
    return distribution_of(imported[1]) if imported else origin_of(frame.file).package


def _failed_to_open(doc: ExceptionDoc) -> bool:
    return doc.is_a("RuntimeError", "ValueError") and ("Failed to open" in doc.message or "No such file" in doc.message)


def _file_wanted(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    path = _wanted_path(doc)
    if path is None or (scene.sources.local and os.path.isdir(path)):
        return
    frame = doc.innermost
    in_model, in_package = _seen_from(scene.model_directory, path) is not None, origin_of(path)
    if scene.model_directory is None and in_package.package is None and os.path.isabs(path):
        # Of a pasted text the directory is not known: a snapshot of the hub is one, and model code reads its own.
        in_model = "/snapshots/" in path or any(origin_of(at.file).is_model_code for at in doc.frames)
    if not os.path.isabs(path) and "/" not in path:
        # A bare name is looked for in the model's directory by everything that speaks so.
        in_model = True
    elsewhere = in_model and scene.sources.local and _lies_in(scene.model_directory, path)
    inside_package = not in_model and in_package.package is not None
    scene.memory.add(
        "file_wanted",
        at,
        stage=doc.stage,
        path=clean(path, 500),
        name=clean(os.path.basename(path.rstrip("/")), 200),
        in_model=in_model,
        in_package=inside_package,
        package=in_package.package if inside_package else None,
        raised=doc.role != "swallowed",
        elsewhere=elsewhere,
        part=clean(doc.parts[0], 200) if doc.parts else None,
        place=place_in(scene.model_directory, path),
        file=frame.file if frame else None,
        line=frame.line if frame else None,
    )


def _wanted_path(doc: ExceptionDoc) -> str | None:
    placed = re.match(r"(?P<name>[\w.\-]+\.\w+) (?:was )?not found (?:at|in|under) (?P<directory>/.+)", doc.message)
    if placed:
        return os.path.join(placed["directory"].strip(), placed["name"])
    # transformers, of a feature extractor or processor that is to be made from a directory.
    lacking = re.search(
        r"'(?P<directory>/[^']+)' is the correct path to a directory containing an? (?P<name>[\w.\-]+) file",
        doc.message,
    )
    if lacking and os.path.isdir(lacking["directory"]) and not os.path.exists(os.path.join(*lacking.groups())):
        return os.path.join(*lacking.groups())
    config = re.match(r"Config not found at (?P<directory>.+)", doc.message)
    if config:  # mlx_audio/utils.py::load_config
        return os.path.join(config["directory"].strip(), "config.json")
    path = doc.attribute("filename")
    if path is None and not doc.is_a("LocalEntryNotFoundError", "HfHubHTTPError"):
        first = doc.message.strip().splitlines()[0] if doc.message.strip() else ""
        path = next((match["file"] for match in (p.search(first) for p in _WANTED_FILE) if match), None)
    if path is None or doc.attributes.get("errno", 2) not in (2, 20):
        return None
    return path.strip().strip("'\"")


def _lies_in(directory: Path | None, path: str) -> bool:
    """A relative path that was not found from where the load ran is there from the model directory."""
    return directory is not None and not os.path.isabs(path) and os.path.isfile(os.path.join(directory, path))


def place_in(directory: Path | None, path: str) -> str:
    """``path`` as seen from the model ``directory``; its base name where that is not known to hold it."""
    seen = _seen_from(directory, path)
    if seen is not None:
        return clean(Path(seen).as_posix(), 300)
    return clean(os.path.basename(path.rstrip("/")), 200)


def _seen_from(directory: Path | None, path: str) -> str | None:
    """``path`` relative to the ``directory`` that holds it, None if none does."""
    if directory is None or not os.path.isabs(path):
        return None
    # Snapshots of the hub cache link into it; both the name and what it stands for count.
    for root in (os.path.abspath(directory), os.path.realpath(directory)):
        for candidate in (os.path.abspath(path), os.path.realpath(path)):
            if os.path.commonpath([root, candidate]) == root:
                return os.path.relpath(candidate, root)
    return None
