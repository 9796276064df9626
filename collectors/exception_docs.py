"""Exceptions as the probe, or a pasted traceback, describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a traceback. ``source`` is the line's text, stripped; empty where unknown."""

    file: str
    line: int | None = None
    function: str = ""
    module: str = ""
    source: str = ""

    @property
    def is_import_machinery(self) -> bool:
        return self.file.startswith("<frozen importlib") or self.file.endswith("/importlib/__init__.py")


@dataclass(frozen=True, slots=True)
class ExceptionDoc:
    """One exception of a load.

    ``role`` is raised, cause or swallowed; ``order`` counts along the chain from the one raised
    (0). ``attributes`` may hold name, path, filename, errno, key, obj_type, obj_module, obj_class,
    obj_is_class, obj_base, name_from; any may be missing, as they are in a pasted traceback.
    ``frames`` are outermost first. ``parts`` names what was to be made where it was caught.
    """

    stage: str
    role: str
    type: str
    module: str = "builtins"
    bases: tuple[str, ...] = ()
    message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    frames: tuple[Frame, ...] = ()
    order: int = 0
    parts: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExceptionDoc:
        """From the probe's JSON; unknown keys are ignored and absent ones take their defaults."""
        module, _, name = str(data.get("type") or "Exception").rpartition(".")
        return cls(
            stage=str(data.get("stage") or "unknown"),
            role=str(data.get("role") or "raised"),
            type=name,
            module=str(data.get("module") or module or "builtins"),
            bases=tuple(map(str, data.get("bases") or ())),
            message=str(data.get("message") or ""),
            attributes=dict(data.get("attributes") or {}),
            frames=tuple(_frame(frame) for frame in data.get("frames") or ()),
            order=int(data.get("order") or 0),
            parts=tuple(str(part["part"]) for part in data.get("parts") or ()),
        )

    def is_a(self, *names: str) -> bool:
        """The class or one of its bases has one of these names; the usual hierarchy stands in for absent bases."""
        known = {self.type, *self.bases, *_USUAL_BASES.get(self.type, ())}
        return not known.isdisjoint(names)

    @property
    def innermost(self) -> Frame | None:
        """The frame whose code raised it: the last that is not Python's import machinery."""
        return next((frame for frame in reversed(self.frames) if not frame.is_import_machinery), None)

    def attribute(self, name: str) -> str | None:
        value = self.attributes.get(name)
        return str(value) if value not in (None, "") else None


_USUAL_BASES: Mapping[str, tuple[str, ...]] = {
    "ModuleNotFoundError": ("ImportError",),
    "FileNotFoundError": ("OSError",),
    "PermissionError": ("OSError",),
    "KeyError": ("LookupError",),
    "LocalEntryNotFoundError": ("FileNotFoundError", "OSError"),
}


def _frame(data: Mapping[str, Any]) -> Frame:
    line = data.get("line")
    return Frame(
        file=str(data.get("file") or "<unknown>"),
        line=line if isinstance(line, int) else None,
        function=str(data.get("function") or ""),
        module=str(data.get("module") or ""),
        source=str(data.get("source") or ""),
    )


def documents(data: Iterable[Mapping[str, Any]]) -> list[ExceptionDoc]:
    """The probe's list as documents."""
    return [ExceptionDoc.from_json(item) for item in data]
