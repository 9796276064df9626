"""TypeErrors of a call: arguments missing, unexpected or given twice, traced to config keys."""

from __future__ import annotations

import re

from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.exception_scene import Scene
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.model import Provenance

_MISSING = re.compile(
    r"^(?P<callee>[\w.<>]+)\(\) missing \d+ required (?:positional|keyword-only) arguments?: (?P<names>.+)", re.DOTALL
)
_UNEXPECTED = re.compile(r"^(?P<callee>[\w.<>]+)\(\) got an unexpected keyword argument '(?P<name>[^']+)'")
_TWICE = re.compile(r"^(?P<callee>[\w.<>]+)\(\) got multiple values for (?:keyword )?argument '(?P<name>[^']+)'")
#: transformers' config classes set every key they are given; one of a read-only property refuses it.
_NO_SETTER = re.compile(r"^property '(?P<name>\w+)' of '(?P<callee>\w+)' object has no setter")
_QUOTED = re.compile(r"'([^']+)'")


def read(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    """Assert missing_argument and unexpected_argument."""
    if doc.is_a("AttributeError"):
        _no_setter(scene, doc, at)
        return
    if not doc.is_a("TypeError"):
        return
    missing = _MISSING.match(doc.message)
    if missing:
        class_name = _class_name(scene, missing["callee"], doc.innermost)
        section = _section(scene, class_name, doc)
        for name in _QUOTED.findall(missing["names"]):
            scene.memory.add(
                "missing_argument",
                at,
                stage=doc.stage,
                class_name=class_name,
                name=name,
                section=section,
                path=f"{section}.{name}" if section else name,
            )
        return
    unexpected = _UNEXPECTED.match(doc.message) or _TWICE.match(doc.message)
    if unexpected:
        _unexpected(scene, doc, at, unexpected["callee"], unexpected["name"])


def _no_setter(scene: Scene, doc: ExceptionDoc, at: Provenance) -> None:
    refused = _NO_SETTER.match(doc.message)
    if refused:
        _unexpected(scene, doc, at, f"{refused['callee']}.__init__", refused["name"])


def _unexpected(scene: Scene, doc: ExceptionDoc, at: Provenance, callee: str, name: str) -> None:
    class_name = _class_name(scene, callee, doc.innermost)
    path = _given_path(scene, _section(scene, class_name, doc), name)
    scene.memory.add(
        "unexpected_argument",
        at,
        stage=doc.stage,
        class_name=class_name,
        name=clean(name),
        path=path,
        in_config=path is not None and scene.in_config(path),
    )


def _class_name(scene: Scene, callee: str, frame: Frame | None) -> str:
    """The class (or function) of ``mlx.module.Class.__init__`` as written in a message."""
    owner, _, function = callee.rpartition(".")
    if function in ("__init__", "__new__"):
        if owner:
            return owner.rpartition(".")[2]
        # Before Python 3.10 the message names the method alone.
        called = scene.called_class(frame)
        if called == "cls" and frame is not None:
            called = scene.sources.at(frame.file, frame.line).class_name
        return called or function
    # ``package.module.Class() got multiple values ...`` is how a call with ``**`` speaks of its callee.
    return function if function[:1].isupper() else callee


def _section(scene: Scene, class_name: str, doc: ExceptionDoc) -> str | None:
    """The config path that the class takes: from the signature, else from the line that calls it."""
    sections = scene.sections_of(class_name)
    if len(sections) == 1:
        return sections[0]
    handed = scene.argument_path(class_name, doc)
    if handed is not None and (not sections or handed in sections):
        return handed
    # The class of that name is the one that mlx_audio/utils.py::base_load_model hands the whole config.
    return "" if class_name == "ModelConfig" and not sections else None


def _given_path(scene: Scene, section: str | None, name: str) -> str | None:
    if section is not None:
        path = f"{section}.{name}" if section else name
        if scene.config is None or scene.in_config(path):
            return clean(path)
    paths = scene.key_paths(name)
    return paths[0] if len(paths) == 1 else None
