"""Which patch of mlx-audio a report asks for, and whether a patched copy of the package loads the model."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.adapters.source_patch import PatchRefused, SourcePatch, apply_to, make_patch
from mlx_diagnose.collectors.package_copy import copy_package, package_folder
from mlx_diagnose.engine.model import Fact, Report

_PACKAGE = "mlx_audio"
_PATH_AS_TEXT = re.compile(r"'(Posix|Windows|)Path' object has no attribute")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A codemod, and where it is to be tried: ``files`` relative to the folder of the package, and a line in them."""

    codemod: str
    files: tuple[str, ...]
    line: int | None = None


def patches_for(
    report: Report, executable: str, loads: Callable[[Path], bool], progress: Callable[[str], None] = lambda _: None
) -> list[SourcePatch]:
    """The patches with which the model loads: ``loads`` says so of a folder with a patched copy of the package."""
    wanted = list(_wanted(report))
    folder = package_folder(executable) if wanted else None
    if folder is None:
        return []
    version = report.patient.packages.get("mlx-audio", "unknown")
    made = [list(_patches(folder, wish, version)) for wish in wanted]
    whole = list({patch.file: patch for patches in reversed(made) for patch in patches}.values())
    # One defect is more likely than several; what answers one kind of defect is tried alone first.
    tried: list[list[SourcePatch]] = []
    for patches in [*made, whole]:
        if not patches or patches in tried:
            continue
        tried.append(patches)
        progress("trying a patched copy of mlx-audio")
        with tempfile.TemporaryDirectory(prefix="diagnose-patched-") as scratch:
            copy_package(folder, Path(scratch))
            for patch in patches:
                apply_to(Path(scratch), patch)
            if loads(Path(scratch)):
                return patches
    return []


def _patches(folder: Path, wish: Wanted, version: str) -> Iterator[SourcePatch]:
    """What a codemod makes of the files that are there, which may be given as patterns."""
    for pattern in wish.files:
        for path in sorted(folder.glob(pattern)):
            try:
                patch = make_patch(folder, path.relative_to(folder).as_posix(), wish.codemod, version, wish.line)
            except PatchRefused:
                continue
            if patch is not None:
                yield patch


def seen_of(report: Report) -> str:
    """The failure as the user met it, in a few lines."""
    failed = next((stage for stage in report.stages if stage.exception is not None), None)
    said = failed.exception if failed is not None else None
    if said is None:
        return ""
    # An issue is read elsewhere: paths begin where the packages lie.
    file = (said.file or "").rpartition("site-packages/")[2]
    place = f"\nat {_inside_package(file) or file}:{said.line}" if file else ""
    return f"{said.type}: {said.message}{place}"


def _wanted(report: Report) -> Iterator[Wanted]:
    category, family = report.target.category or "tts", report.target.family
    inside = f"{_PACKAGE}/{category}/models/{family}" if family else None
    facts = report.facts
    failed = next((stage for stage in report.stages if stage.status in ("failed", "blocked")), None)
    said = failed.exception if failed is not None else None
    raised = _inside_package(said.file) if said is not None else None
    if any(_at_import(fact) for fact in facts):
        files = [file for fact in facts if _at_import(fact) and (file := _inside_package(fact["file"]))]
        if inside is not None:
            files += [f"{inside}/{family}.py", f"{inside}/__init__.py"]
        yield Wanted("first-use", tuple(dict.fromkeys(files)))
    if inside is not None and any(fact.kind == "tensor_layout" and fact["sanitize_transposed"] for fact in facts):
        yield Wanted("keep-fitting", (f"{inside}/*.py",))
    if inside is not None and any(_loses_scales(fact) for fact in facts):
        yield Wanted("keep-packed", (f"{inside}/*.py",))
    if any(_is_no_module(fact) for fact in facts):
        yield Wanted("module-names", (f"{_PACKAGE}/utils.py",))
    if any(fact.kind == "release_defect" and fact["defect"] == "remapping-ignored" for fact in facts):
        yield Wanted("mapped-type", (f"{_PACKAGE}/utils.py", f"{_PACKAGE}/{category}/utils.py"))
    if said is not None and raised and said.type == "TypeError" and "unexpected keyword argument" in said.message:
        yield Wanted("known-keys", (raised,), said.line)
    if said is not None and raised and said.type == "AttributeError" and _PATH_AS_TEXT.match(said.message):
        yield Wanted("path-as-text", (raised,), said.line)


def _loses_scales(fact: Fact) -> bool:
    return fact.kind == "sanitize_loss" and fact["quantization_metadata"] is True and fact["wanted"] is True


def _is_no_module(fact: Fact) -> bool:
    """A part of a name with a dot in it was looked for as a module of a family."""
    return fact.kind == "missing_module" and str(fact["module"]).startswith(_PACKAGE) and fact["kind_of"] == "family"


def _at_import(fact: Fact) -> bool:
    return fact.kind == "reach" and fact["at_import"] is True and fact["outcome"] != "found" and not fact["swallowed"]


def _inside_package(file: object) -> str | None:
    """The path of a source file of mlx-audio, from the folder that holds the package."""
    parts = Path(str(file)).parts if file else ()
    return "/".join(parts[parts.index(_PACKAGE) :]) if _PACKAGE in parts else None
