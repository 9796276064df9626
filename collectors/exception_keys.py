"""Config keys that code reads and does not find, be they absent, null, or named in the text of an exception."""

from __future__ import annotations

import re
import sys

from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.exception_scene import Scene
from mlx_diagnose.collectors.knowledge import distribution_of
from mlx_diagnose.collectors.origins import origin_of
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.model import Provenance

_NO_ATTRIBUTE = re.compile(r"^'(?P<owner>[\w.]+)' object has no attribute '(?P<name>\w+)'")
_NONE = re.compile(r"'?NoneType'?")
_CONFIG_CLASS = re.compile(r"(Config|Configuration|Args|Arguments|Params|Parameters|Settings|HParams|Namespace)$")
_WANTS = re.compile(
    r"\b(requires?|required|missing|must (?:contain|have|define|include|provide|specify"
    r"|be (?:set|given|specified|provided|defined))|not (?:found|set|given|specified|provided|defined|initiali[sz]ed)"
    r"|needs?|lacks?|without|is None|unset|undefined|absent|expects?|expected|no)\b",
    re.IGNORECASE,
)
#: Mappings in model code that are not configs.
_NO_CONFIG = re.compile(r"weight|state|environ|tensor|cache|voice|speaker|token|vocab|sanitized|buffers", re.IGNORECASE)
_OF_MAPPINGS = frozenset(dir(dict))
_WORD = re.compile(r"""["'`](?P<quoted>[A-Za-z_][\w.]*)["'`]|\b(?P<plain>[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+)\b""")


def read(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """Assert missing_key."""
    if doc.is_a("KeyError"):
        _key_error(scene, doc, at)
    elif doc.is_a("AttributeError") and "NoneType" not in doc.message:
        _attribute_error(scene, doc, at)
    elif doc.is_a("AttributeError", "TypeError") and _NONE.search(doc.message):
        _null_section(scene, doc, at)
    elif doc.is_a("ValueError", "RuntimeError", "AssertionError", "LookupError", "NotImplementedError"):
        _named_in_message(scene, doc, at)


def _assert(scene: Scene, doc: ExceptionDoc, at: Provenance, path: str, how: str, frame: Frame | None = None) -> None:
    frame = frame or doc.innermost
    scene.memory.add(
        "missing_key",
        at,
        stage=doc.stage,
        name=clean(path.rpartition(".")[2], 200),
        path=clean(path, 500),
        file=frame.file if frame else None,
        line=frame.line if frame else None,
        how=how,
        base_package=_base_package(doc) if how == "attribute" else None,
    )


def _base_package(doc: ExceptionDoc) -> str | None:
    """The distribution whose class the config class extends, and which may declare what was asked for."""
    base = doc.attribute("obj_base")
    top = base.partition(".")[0] if base else ""
    return distribution_of(base) if base and top != "mlx_audio" and top not in sys.stdlib_module_names else None


def _key_error(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    key = doc.attribute("key") or doc.message.strip().strip("\"'")
    frame = doc.innermost
    if not key or frame is None or not re.fullmatch(r"[\w.\-]{1,100}", key):
        return
    known = scene.absent_path(key, frame)
    if known is not None:
        _assert(scene, doc, at, known, "key")
        return
    for expression in scene.expressions(frame):
        if key in expression.steps:
            path = scene.full_path(frame, expression.upto(expression.steps.index(key) + 1))
            if not scene.in_config(path):
                _assert(scene, doc, at, path, "key")
                return
    # A line without a config in it: it counts where the code takes configs apart.
    reads_it = re.search(rf"""(\w*)(?:\.\w+)?[\[(]\s*["']{re.escape(key)}["']""", scene.source_of(frame))
    if "." in key or (reads_it and _NO_CONFIG.search(reads_it[1])):
        return
    takes_configs = doc.stage in ("config", "construct") and origin_of(frame.file).is_model_code
    if takes_configs and (reads_it or not scene.source_of(frame)) and not scene.in_config(key):
        section = scene.section_at(frame, "")
        _assert(scene, doc, at, f"{section}.{key}" if section else key, "key")


def _attribute_error(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    match = _NO_ATTRIBUTE.match(doc.message)
    if match is None:
        return
    owner, name = match["owner"].rpartition(".")[2], match["name"]
    sections = scene.sections_of(owner)
    if not sections and not _CONFIG_CLASS.search(owner):
        return
    frame = doc.innermost
    read = [e for e in scene.expressions(frame) if name in e.steps]
    known = scene.absent_path(name, frame)
    if len(sections) == 1:
        path = f"{sections[0]}.{name}" if sections[0] else name
    elif known is not None:
        path = known
    elif read and frame is not None:
        path = scene.full_path(frame, read[0].upto(read[0].steps.index(name) + 1))
    else:
        path = name
    _assert(scene, doc, at, path, "attribute")


def _null_section(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """``config.audio.model`` where ``config.audio`` is null: the section is what is missing."""
    match = _NO_ATTRIBUTE.match(doc.message)
    wanted = match["name"] if match else None
    for frame in reversed(doc.frames):
        if frame.is_import_machinery or not (origin_of(frame.file).is_model_code or frame is doc.innermost):
            continue
        # ``f(**x) argument after ** must be a mapping, not NoneType`` speaks of what follows the stars.
        after = "**" if "after **" in doc.message else ""
        for expression in scene.expressions(frame, after):
            steps = expression.steps
            if wanted is not None:
                if wanted not in steps:
                    continue
                before = steps[: steps.index(wanted)]
                if not before and wanted in _OF_MAPPINGS:
                    # ``params.items()`` in a reader of any section: which one is null, another frame may tell.
                    continue
                # Nothing between the config and the attribute: the whole config object is None.
                steps = before or steps[: steps.index(wanted) + 1]
            if not steps or (expression.called and wanted is None):
                continue
            # Without the attribute's name, the null value is the first one on the way.
            ends = [len(steps)] if wanted is not None or scene.config is None else range(1, len(steps) + 1)
            paths = [scene.full_path(frame, expression.upto(end)) for end in ends]
            null = next((p for p in paths if scene.config is None or scene.is_null_or_absent(p)), None)
            if null is not None:
                _assert(scene, doc, at, null, "none", frame)
                if wanted is not None:
                    return
        if frame is doc.innermost:
            return


def _named_in_message(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """``MOSS-TTS requires language_config``: code of the family asks for a key in words."""
    frame = doc.innermost
    if doc.stage not in ("config", "construct", "post_load") or not _WANTS.search(doc.message[:500]):
        return
    if frame is not None and not origin_of(frame.file).is_model_code:
        return
    parameters = scene.parameters() | scene.known_sections()
    for match in _WORD.finditer(doc.message[:500]):
        name = match["quoted"] or match["plain"]
        last = name.rpartition(".")[2]
        looks_like_key = last in parameters or re.search(r"_(config|cfg|params|args)$", last)
        if not looks_like_key or last == "model_type":
            continue
        path = _path_of(scene, name)
        if scene.config is None or (scene.is_null_or_absent(path) and not scene.key_paths(last)):
            _assert(scene, doc, at, path, "message")


def _path_of(scene: Scene, name: str) -> str:
    if "." in name:
        return name
    paths = {str(fact["path"]) for fact in scene.memory.of("init_parameter", name=name)}
    return paths.pop() if len(paths) == 1 else name
