"""Code that reads the config's file itself, as a codec's ``from_pretrained`` does: what it has then is the config."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.config_values import ConfigFile, Section, Value
from mlx_diagnose.collectors.source_world import Class, Function
from mlx_diagnose.collectors.syntax import called_name, children

if TYPE_CHECKING:
    from mlx_diagnose.collectors.function_evaluation import Body

_FILE = "config.json"
#: What makes a path of a name; the last of its arguments is the file.
_JOINS = frozenset(("join", "joinpath", "hf_hub_download"))
#: What hands the file on: another form of its path, the open file, its text.
_HANDS_ON = frozenset(("open", "Path", "PurePath", "str", "fspath", "expanduser", "resolve", "as_posix"))
_READS = frozenset(("read", "read_text", "read_bytes", "decode"))
_PARSES = frozenset(("load", "loads"))
_KNOWN = _JOINS | _HANDS_ON | _READS | _PARSES
#: ``mlx_audio/utils.py``: reads config.json of the folder that it is given.
_LOADERS = frozenset(("load_config",))


def is_file(value: Value) -> bool:
    """The config's file."""
    return isinstance(value, ConfigFile)


def value(body: Body, node: ast.expr | None) -> Value:
    """What ``node`` stands for if that is the config's file or what is read from it, else None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return ConfigFile() if _is_name(node.right) and not _in_folder(node.left) else None
    if not isinstance(node, ast.Call):
        return None
    name = called_name(node)
    if name in _LOADERS and len(node.args) == 1:
        return Section(("",))
    if name not in _KNOWN or isinstance(body.target(node.func)[0], (Class, Function)):
        return None  # what the package defines itself is followed
    if name in _JOINS:
        names = [*node.args, *(keyword.value for keyword in node.keywords)]
        named = any(_is_name(one) for one in names) and sum(_is_text(one) for one in names) == 1
        return ConfigFile() if named else None
    given = [*node.args[:1], *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
    if any(is_file(body.value(one)) for one in given if _is_plain(one)):
        return Section(("",)) if name in _PARSES else ConfigFile()
    return None


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == _FILE


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _in_folder(node: ast.expr) -> bool:
    """A folder inside the model's: what lies there is another file (mlx_audio/codec/models/higgs_audio)."""
    return isinstance(node, ast.BinOp) and _is_text(node.right)


def _is_plain(node: ast.expr) -> bool:
    """Names, paths and calls on them: to look at them twice adds nothing."""
    return isinstance(node, (ast.Name, ast.Attribute, ast.BinOp, ast.Call)) and all(
        isinstance(part, (ast.Name, ast.Attribute, ast.BinOp, ast.Call, ast.Constant, ast.Load, ast.Div))
        for part in _parts(node)
    )


def _parts(node: ast.AST) -> list[ast.AST]:
    return [part for child in children(node) for part in (child, *_parts(child))]
