"""What the exceptions of a load say, as facts: arguments, keys, modules, names and files that were wanted.

Works on descriptions of exceptions (:class:`ExceptionDoc`), from the probe or from a pasted
traceback; nothing is assumed to be there but a type and a message. Run it after the config and
the signature collectors: their facts tell which section of the config a class takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import exception_arguments, exception_imports, exception_keys, exception_resources
from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.exception_scene import Scene
from mlx_diagnose.collectors.origins import Origin, origin_of
from mlx_diagnose.collectors.source_places import NoSources, SourceReader
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

__all__ = ["ExceptionContext", "ExceptionDoc", "collect"]

_MESSAGE = 500
#: MLX's own C++ code raises without a frame; its messages start with the operation in brackets.
_FROM_MLX = r"^\[[a-z_]+(?:::[a-z_]+)*\] "


@dataclass(frozen=True, slots=True)
class ExceptionContext:
    """What is known about the run besides its exceptions; everything may be absent.

    ``packages`` maps canonical distribution names to installed versions, of those that matter to
    mlx-audio; ``version_of`` tells that of any other, None if it is not installed. ``local``: the
    files that frames and messages name are those of this machine, and may be looked at.
    """

    model_directory: Path | None = None
    config: Mapping[str, Any] | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    local: bool = True
    version_of: Callable[[str], str | None] = field(default=lambda _: None)


_READERS: tuple[Callable[[Scene, ExceptionDoc, Provenance], None], ...] = (
    exception_arguments.read,
    exception_keys.read,
    exception_imports.read,
    exception_resources.read,
)


def collect(memory: WorkingMemory, exceptions: Sequence[ExceptionDoc], context: ExceptionContext) -> None:
    """Assert an exception fact for each document, and what its type and text tell.

    Facts: exception, missing_argument, unexpected_argument, missing_key, missing_module,
    missing_name, native_error, file_wanted.
    """
    chain = [doc for doc in exceptions if doc.role != "swallowed"]
    root = max(chain, key=lambda doc: doc.order, default=None)
    raised = next((doc for doc in chain if doc.role == "raised"), chain[0] if chain else None)
    sources = SourceReader() if context.local else NoSources()
    scene = Scene(
        memory,
        context.model_directory,
        context.config,
        context.packages,
        raised,
        chain,
        sources,
        lambda name: context.packages.get(name) or context.version_of(name),
    )
    for doc in exceptions:
        innermost = doc.innermost
        at = Provenance(
            "exceptions", file=innermost.file if innermost else None, line=innermost.line if innermost else None
        )
        _assert_exception(memory, doc, at, root_cause=doc is root)
        for reader in _READERS:
            reader(scene, doc, at)


def _assert_exception(memory: WorkingMemory, doc: ExceptionDoc, at: Provenance, *, root_cause: bool) -> None:
    frame = doc.innermost
    family = next((f for f in reversed(doc.frames) if origin_of(f.file).is_model_code), None)
    origin = _origin(doc, frame)
    memory.add(
        "exception",
        at,
        stage=doc.stage,
        role=doc.role,
        type=doc.type,
        module=doc.module,
        message=clean(doc.message, _MESSAGE),
        origin=origin.kind,
        package=origin.package,
        file=frame.file if frame else None,
        line=frame.line if frame else None,
        function=frame.function or None if frame else None,
        source=clean(frame.source, _MESSAGE) or None if frame else None,
        family_file=family.file if family else None,
        family_line=family.line if family else None,
        family_function=family.function or None if family else None,
        root_cause=root_cause,
    )


def _origin(doc: ExceptionDoc, frame: Frame | None) -> Origin:
    import re

    if doc.module == "builtins" and re.match(_FROM_MLX, doc.message):
        return Origin("mlx", "mlx")
    if frame is None:
        top = doc.module.split(".")[0]
        known = {"huggingface_hub": "huggingface_hub", "transformers": "transformers", "builtins": "stdlib"}
        return Origin(known.get(top, "dependency"), None)
    return origin_of(frame.file)
