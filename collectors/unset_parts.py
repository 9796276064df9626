"""Parts of a model that stay empty without a word for want of a file, and without which it refuses to be used.

As ``mlx_audio/tts/models/kitten_tts`` does: ``if voices_path.exists(): model._load_voices(voices_path)`` while it
loads, and ``if not self.voices: raise`` when it speaks. Read in the source of a model that loads. A part
that anything else may fill is none of these.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mlx_diagnose.collectors.companions import Companion, state_of
from mlx_diagnose.collectors.syntax import called_name, syntax_tree, walk
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_TESTS = ("exists", "is_file", "isfile")


def collect(memory: WorkingMemory, found: Iterable[Companion], directory: Path) -> None:
    """Assert unset_part for each file of ``found`` that ``directory`` lacks, and whose part has no other source."""
    for companion in found:
        if companion.what != "file" or companion.stage is None or not companion.tested:
            continue
        if state_of(companion, directory) != "absent":
            continue
        try:
            tree = syntax_tree(Path(companion.file))
        except (OSError, SyntaxError, ValueError):
            continue
        for part, line in _unset(tree, companion.line):
            memory.add(
                "unset_part",
                Provenance("unset_parts", companion.file, line),
                name=companion.name,
                part=part,
                stage=companion.stage,
                file=companion.file,
                line=companion.line,
                needed_line=line,
            )


def _unset(tree: ast.Module, line: int) -> Iterator[tuple[str, int]]:
    """Attributes that are set only if the test in ``line`` holds, with the line that refuses to go on without."""
    nodes = walk(tree)
    branch = next((node for node in nodes if isinstance(node, ast.If) and _tests_file(node, line)), None)
    if branch is None or branch.orelse:
        return
    inside = [node for statement in branch.body for node in walk(statement)]
    called = {called_name(node) for node in inside if isinstance(node, ast.Call)}
    fillers = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name in called]
    inside += [node for filler in fillers for node in walk(filler)]
    set_here, refused = _assigned(inside), _refused(nodes)
    for name in sorted(set_here.keys() & refused.keys()):
        others = [value for value in _assigned(nodes)[name] if value not in set_here[name]]
        if all(map(_is_empty, others)) and not _called_elsewhere(nodes, inside, {node.name for node in fillers}):
            yield name, refused[name]


def _tests_file(node: ast.If, line: int) -> bool:
    test = node.test
    return isinstance(test, ast.Call) and test.lineno == line and called_name(test) in _TESTS


def _assigned(nodes: Sequence[ast.AST]) -> dict[str, list[ast.expr | None]]:
    """What is assigned to attributes, by their names."""
    found: dict[str, list[ast.expr | None]] = {}
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for part in (part for target in targets for part in walk(target)):
                if isinstance(part, ast.Attribute):
                    found.setdefault(part.attr, []).append(node.value)
    return found


def _refused(nodes: Iterable[ast.AST]) -> dict[str, int]:
    """Attributes of ``self`` without which the code raises, with the line of the test."""
    found: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
            tests = (
                node.test.values
                if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or)
                else [node.test]
            )
            for test in tests:
                name = _emptiness(test)
                if name is not None:
                    found.setdefault(name, node.lineno)
    return found


def _emptiness(test: ast.expr) -> str | None:
    """The attribute of ``self`` that ``test`` asks whether it is empty: ``not self.x``, ``self.x is None``."""
    asked: ast.expr | None = None
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        asked = test.operand
    elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is) and _is_empty(test.comparators[0]):
        asked = test.left
    is_own = isinstance(asked, ast.Attribute) and isinstance(asked.value, ast.Name) and asked.value.id == "self"
    return asked.attr if is_own and isinstance(asked, ast.Attribute) else None


def _is_empty(value: ast.expr | None) -> bool:
    return value is None or ast.unparse(value) in ("None", "{}", "[]", "dict()", "list()")


def _called_elsewhere(nodes: Iterable[ast.AST], inside: Sequence[ast.AST], names: set[str]) -> bool:
    here = {id(node) for node in inside}
    return any(isinstance(node, ast.Call) and id(node) not in here and called_name(node) in names for node in nodes)
