"""What the readers of exceptions share: the config, the classes that take its sections, the sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.config_expressions import ConfigExpression, config_expressions
from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.source_places import SourceReader
from mlx_diagnose.engine.memory import WorkingMemory

_ABSENT = object()
_CLASS_CALL = re.compile(r"([A-Za-z_]\w*)\s*(?:\.from_\w+|\.load_dict)?\(")


@dataclass(frozen=True)
class Scene:
    """``raised`` is the exception that ended the load; ``chain`` it and its causes, newest first.

    ``version_of`` tells the version of any distribution by its canonical name, None if it is not installed.
    """

    memory: WorkingMemory
    model_directory: Path | None
    config: Mapping[str, Any] | None
    packages: Mapping[str, str]
    raised: ExceptionDoc | None
    chain: Sequence[ExceptionDoc]
    sources: SourceReader = field(default_factory=SourceReader)
    version_of: Callable[[str], str | None] = field(default=lambda _: None)

    # -- classes and sections ------------------------------------------------------------------

    def sections_of(self, class_name: str) -> list[str]:
        """Config paths that the class ``class_name`` takes."""
        return [str(fact["section"]) for fact in self.memory.of("config_class", class_name=class_name)]

    def known_sections(self) -> frozenset[str]:
        """Last parts of all config paths that hold objects or that a config class takes."""
        names = {str(fact["section"]).rpartition(".")[2] for fact in self.memory.of("config_class")}
        names |= {str(fact["name"]) for fact in self.memory.of("config_key", type="object")}
        if self.config is not None:
            names |= {key for key, value in self.config.items() if isinstance(value, dict)}
        return frozenset(names - {""})

    def parameters(self) -> frozenset[str]:
        """Names of all parameters of all config classes."""
        return frozenset(str(fact["name"]) for fact in self.memory.of("init_parameter"))

    # -- config --------------------------------------------------------------------------------

    def in_config(self, path: str) -> bool:
        """``path`` is given, be it as null."""
        return self.config is not None and value_at(self.config, path, _ABSENT) is not _ABSENT

    def is_null_or_absent(self, path: str) -> bool:
        """``path`` is null or not given, in a config that was read."""
        return self.config is not None and value_at(self.config, path) is None

    def key_paths(self, name: str) -> list[str]:
        """Paths of the given keys called ``name``."""
        return [str(fact["path"]) for fact in self.memory.of("config_key", name=name)]

    def absent_path(self, name: str, frame: Frame | None) -> str | None:
        """The path of the absent key ``name`` that the line of ``frame`` reads, as the family's source shows it.

        Told by the very line, else by there being one absent key of that name only.
        """
        absent = self.memory.of("absent_key", name=name)
        at_line = [
            fact
            for fact in absent
            if frame is not None and (fact.provenance.file, fact.provenance.line) == (frame.file, frame.line)
        ]
        paths = {str(fact["path"]) for fact in at_line or absent}
        return paths.pop() if len(paths) == 1 else None

    # -- source lines --------------------------------------------------------------------------

    def source_of(self, frame: Frame | None) -> str:
        """The source line of ``frame``: as reported, else from the file."""
        if frame is None:
            return ""
        return frame.source or self.sources.line(frame.file, frame.line)

    def section_at(self, frame: Frame, root: str) -> str | None:
        """Config path that the variable ``root`` (``config``, ``self.args``) stands for in ``frame``; None if unknown.

        Told by the annotation of the parameter, or by the class whose method it is.
        """
        place = self.sources.at(frame.file, frame.line)
        annotation = place.annotations.get(root.removeprefix("self."), "")
        for name in re.findall(r"\w+", annotation):
            sections = self.sections_of(name)
            if len(sections) == 1:
                return sections[0]
        class_name = place.class_name or frame.function.rpartition(".")[0].rpartition(".")[2]
        if class_name and place.function != "__init__":
            sections = self.sections_of(class_name)
            if len(sections) == 1:
                return sections[0]
        return None

    def full_path(self, frame: Frame, expression: ConfigExpression) -> str:
        """The dotted path that ``expression`` reads in ``frame``, as well as it is known."""
        if not expression.root:
            name = expression.steps[0]
            paths = self.key_paths(name) or [name]
            return ".".join([paths[0], *expression.steps[1:]])
        section = self.section_at(frame, expression.root)
        return ".".join(filter(None, [section, expression.path]))

    def expressions(self, frame: Frame | None, after: str = "") -> list[ConfigExpression]:
        """Config expressions in the source line of ``frame``, or in what follows the last ``after`` in it."""
        source = self.source_of(frame)
        return list(config_expressions(source.rpartition(after)[2] if after else source, self.known_sections()))

    def argument_path(self, class_name: str, doc: ExceptionDoc) -> str | None:
        """The config path handed to ``class_name`` on the innermost line that calls it; None if none does."""
        call = re.compile(rf"\b{re.escape(class_name)}(?:\.\w+)?\s*\((.*)", re.DOTALL)
        for frame in reversed(doc.frames):
            match = call.search(self.source_of(frame))
            if match is None:
                continue
            handed = match[1].rpartition("**")[2] if "**" in match[1] else match[1]
            for expression in config_expressions(handed, self.known_sections()):
                if not expression.called:
                    return self.full_path(frame, expression)
        return None

    def called_class(self, frame: Frame | None) -> str | None:
        """The class that the line of ``frame`` calls, for Pythons whose message does not name it."""
        calls = _CLASS_CALL.findall(self.source_of(frame))
        return calls[-1] if calls else None
