"""Modules and names that could not be imported, however the message that ended the load dresses them."""

from __future__ import annotations

import re
import sys

from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.exception_scene import Scene
from mlx_diagnose.collectors.knowledge import canonical, distribution_of
from mlx_diagnose.collectors.origins import origin_of
from mlx_diagnose.collectors.released_files import as_released
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.knowledge_base import data as knowledge_base

_NO_MODULE = re.compile(r"No module named '?(?P<module>[\w.\-]+)'?")
_NO_NAME = re.compile(
    r"cannot import name '(?P<name>[^']+)' from (?P<partial>partially initialized module )?'(?P<module>[^']+)'"
)
_NO_MODULE_ATTRIBUTE = re.compile(
    r"(?P<partial>partially initialized )?module '?(?P<module>[\w.]+)'? has no attribute '?(?P<name>\w+)'?"
)
#: Objects whose attributes are what data made of them: a name that one lacks says nothing of its package.
_MADE_OF_DATA = re.compile(r"^(?:mlx_audio\.|mlx\.(?!core\.)|builtins\.|types\.|__main__\.)|Config$")
#: transformers' refusal of a class whose back end is missing (``utils/import_utils.py::requires_backends``).
_BACKEND = re.compile(
    r"\b\w+ requires (?:the )?(?:\W+ )?(?P<library>[A-Za-z][\w-]*)(?: library)?[^\n]*?\b(?:was|were) not found\b"
)
_BACKEND_MODULES = {"pytorch": "torch", "pil": "PIL", "sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
_MASKS = re.compile(
    r"not supported|not installed|could not import|failed to import|unavailable|requires", re.IGNORECASE
)


def read(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """Assert missing_module and missing_name."""
    if doc.is_a("ModuleNotFoundError"):
        module = doc.attribute("name") or _first(_NO_MODULE, doc.message)
        if module:
            _missing_module(scene, doc, at, module)
    elif doc.is_a("ImportError"):
        name = _NO_NAME.search(doc.message)
        if name:
            _missing_name(scene, doc, at, name["module"], name["name"], circular=name["partial"] is not None)
        else:
            _named_in_message(scene, doc, at)
    elif doc.is_a("AttributeError"):
        attribute = _NO_MODULE_ATTRIBUTE.search(doc.message)
        if attribute:
            circular = attribute["partial"] is not None
            _missing_name(scene, doc, at, attribute["module"], attribute["name"], circular=circular)
        else:
            _missing_member(scene, doc, at)
    elif doc.is_a("ValueError", "RuntimeError", "OSError"):
        _named_in_message(scene, doc, at)


def _named_in_message(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """mlx-audio's own words: "Missing dependency while loading x: No module named 'y'"."""
    module = _first(_NO_MODULE, doc.message) or _backend(doc)
    if module and not any(_module_of(other) == module for other in scene.chain):
        _missing_module(scene, doc, at, module)


def _backend(doc: ExceptionDoc) -> str | None:
    """The module of the library that a class of transformers wants and did not find."""
    library = _first(_BACKEND, doc.message) if doc.is_a("ImportError") else None
    return _BACKEND_MODULES.get(library.lower(), library.replace("-", "_").lower()) if library else None


def _module_of(doc: ExceptionDoc) -> str | None:
    if not doc.is_a("ModuleNotFoundError"):
        return None
    return doc.attribute("name") or _first(_NO_MODULE, doc.message)


def _missing_module(scene: Scene, doc: ExceptionDoc, at: Provenance, module: str) -> None:
    frame = doc.innermost
    kind_of = _kind_of(scene, module)
    package = distribution_of(module) if kind_of == "dependency" else "mlx-audio"
    part = kind_of == "dependency" and "." in module and module != "mlx.core"
    if part and doc.role != "swallowed" and scene.version_of(package):
        # The package is there; it is this part of it that the installed version does not have.
        parent, _, name = module.rpartition(".")
        _missing_name(scene, doc, at, parent, name, circular=False)
        return
    declared, extra = _declared(scene, package, module) if kind_of == "dependency" else (None, None)
    scene.memory.add(
        "missing_module",
        at,
        stage=doc.stage,
        module=clean(module, 200),
        package=package,
        top=module.split(".")[0],
        importer=_importer(frame),
        importer_line=frame.line if frame else None,
        masked_as=_mask(scene, doc, module),
        swallowed=doc.role == "swallowed",
        kind_of=kind_of,
        declared=declared,
        declared_extra=extra,
    )


def _kind_of(scene: Scene, module: str) -> str:
    parts = module.split(".")
    if parts[0] != "mlx_audio":
        return "dependency"
    if len(parts) < 4 or parts[2] != "models":
        return "internal"
    return "family" if len(parts) == 4 or _names_type(scene, ".".join(parts[3:])) else "internal"


def _names_type(scene: Scene, tail: str) -> bool:
    """A dotted model type (``v1.5``) becomes a module path of more parts."""
    declared = scene.config.get("model_type") if scene.config is not None else None
    return isinstance(declared, str) and declared == tail


def _declared(scene: Scene, package: str, module: str) -> tuple[bool | None, str | None]:
    """Whether mlx-audio declares ``package`` (None: its metadata was not seen), and the extra that would bring it."""
    if not scene.memory.of("requirement", owner="mlx-audio"):
        return None, knowledge_base.distribution_of(module).extra
    told = next((fact["extra"] for fact in scene.memory.of("package", name=package) if fact["extra"]), None)
    declared = bool(scene.memory.of("requirement", owner="mlx-audio", package=package))
    return declared, str(told) if told is not None else None


def _mask(scene: Scene, doc: ExceptionDoc, module: str) -> str | None:
    """The message that ended the load, where it hides that ``module`` is missing."""
    raised = scene.raised
    if doc.role == "swallowed" or raised is None or raised is doc or module in raised.message:
        return None
    return clean(raised.message.strip(), 500) if _MASKS.search(raised.message) else None


def _missing_member(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """A class of another package than the one that asks it, or a class of mlx-audio itself, lacks a name."""
    owner, name, frame = doc.attribute("obj_class"), doc.attribute("name"), doc.innermost
    if (
        doc.role == "swallowed"
        or owner is None
        or name is None
        or frame is None
        or f"has no attribute '{name}'" not in doc.message
    ):
        return
    asked_itself = doc.attributes.get("obj_is_class") == 1
    top = owner.split(".")[0]
    if top in sys.stdlib_module_names or (not asked_itself and _MADE_OF_DATA.search(owner)):
        return
    asks = origin_of(frame.file)
    if asks.kind != "stdlib" and (asks.package != distribution_of(owner) or top == "mlx_audio"):
        _missing_name(scene, doc, at, owner, name, circular=False, of_class=True)


def _altered(scene: Scene, frame: Frame | None) -> bool:
    """The file that asks is not as it was published; if it is, the release itself lacks what it asks for."""
    return frame is not None and scene.sources.local and as_released(frame.file, "mlx_audio") is False


def _missing_name(
    scene: Scene,
    doc: ExceptionDoc,
    at: Provenance,
    module: str,
    name: str,
    *,
    circular: bool,
    of_class: bool = False,
) -> None:
    frame = doc.innermost
    internal = module.split(".")[0] == "mlx_audio"
    package = "mlx-audio" if internal else distribution_of(module)
    namesake = canonical(module.split(".")[0])
    # Two distributions may provide one module, the later installed one wins: phonemizer and phonemizer-fork.
    expected = package if not internal and namesake != package and scene.version_of(namesake) else None
    package = namesake if expected else package
    scene.memory.add(
        "missing_name",
        at,
        stage=doc.stage,
        module=clean(module, 200),
        name=clean(name, 200),
        package=package,
        version=scene.version_of(package),
        importer=_importer(frame),
        importer_line=frame.line if frame else None,
        circular=circular,
        internal=internal,
        expected_package=expected,
        of_class=of_class,
        altered=internal and _altered(scene, frame),
    )


def _importer(frame: Frame | None) -> str | None:
    return (frame.module or frame.file) if frame else None


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[1] if match else None
