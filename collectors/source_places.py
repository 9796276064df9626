"""What surrounds a line of the patient's source: the class and the function it stands in."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlx_diagnose.collectors.syntax import children, parse

_MAX_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """``annotations``: parameter of the enclosing function to the text of its annotation, quotes removed."""

    class_name: str | None = None
    function: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


class SourceReader:
    """Reads source files once; what cannot be read or parsed simply has no places.

    ``local``: paths are those of this machine.
    """

    local = True

    def __init__(self) -> None:
        self._trees: dict[str, tuple[ast.Module | None, list[str]]] = {}

    def line(self, file: str, number: int | None) -> str:
        """Line ``number`` (1-based) of ``file``, stripped; empty where there is none."""
        lines = self._read(file)[1]
        return lines[number - 1].strip() if number is not None and 0 < number <= len(lines) else ""

    def at(self, file: str, number: int | None) -> Place:
        """The innermost class and function around line ``number`` of ``file``."""
        tree = self._read(file)[0]
        if tree is None or number is None:
            return Place()
        class_name = function = None
        annotations: dict[str, str] = {}
        body: list[ast.stmt] = tree.body
        while True:
            inside = next((node for node in body if _spans(node, number)), None)
            if inside is None:
                return Place(class_name, function, annotations)
            if isinstance(inside, ast.ClassDef):
                class_name = inside.name
            elif isinstance(inside, (ast.FunctionDef, ast.AsyncFunctionDef)):
                function = inside.name
                arguments = [*inside.args.posonlyargs, *inside.args.args, *inside.args.kwonlyargs]
                annotations = {a.arg: ast.unparse(a.annotation).strip("'\"") for a in arguments if a.annotation}
            body = [child for child in children(inside) if isinstance(child, ast.stmt)]

    def _read(self, file: str) -> tuple[ast.Module | None, list[str]]:
        if file not in self._trees:
            self._trees[file] = _parse(file)
        return self._trees[file]


class NoSources(SourceReader):
    """For frames of another machine: a file of the same name here would be another one."""

    local = False

    def _read(self, file: str) -> tuple[ast.Module | None, list[str]]:
        return None, []


def _spans(node: ast.stmt, number: int) -> bool:
    return node.lineno <= number <= (node.end_lineno or node.lineno)


def _parse(file: str) -> tuple[ast.Module | None, list[str]]:
    path = Path(file)
    try:
        if path.suffix != ".py" or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None, []
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None, []
    try:
        return parse(text), re.split(r"\r\n|\n|\r", text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, re.split(r"\r\n|\n|\r", text)
