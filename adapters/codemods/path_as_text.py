"""Where the methods of a text are called on something that may be a Path, its text is taken.

The loader gives a Path to ``post_load_hook``, and a config may hold one; what calls ``startswith`` on it
fails with an AttributeError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TITLE = "Take the text of a path before the methods of a text are called on it"
CAUSE = (
    "A method of str is called on a path that is given as a pathlib.Path, which has no such method, so the load ends "
    "with an AttributeError."
)
#: Methods of str that Path has not.
_METHODS = frozenset(dir(str)) - frozenset(dir(Path))


def transform(source: str, line: int | None) -> str:
    """``path.startswith(x)`` that stands at ``line`` as ``str(path).startswith(x)``."""
    import libcst as cst
    from libcst.metadata import MetadataWrapper, PositionProvider

    wrapper = MetadataWrapper(cst.parse_module(source))
    positions = wrapper.resolve(PositionProvider)

    class AsText(cst.CSTTransformer):
        def leave_Call(self, original_node: Any, updated_node: Any) -> Any:
            function = updated_node.func
            place = positions[original_node.func]
            if line is None or not place.start.line <= line <= place.end.line:
                return updated_node
            if not isinstance(function, cst.Attribute) or function.attr.value not in _METHODS:
                return updated_node
            if not _named(function.value):
                return updated_node
            text = cst.Call(cst.Name("str"), [cst.Arg(function.value)])
            return updated_node.with_changes(func=function.with_changes(value=text))

    return wrapper.module.visit(AsText()).code  # type: ignore[no-any-return]


def _named(value: Any) -> bool:
    """A name, or an attribute of one: what a literal or a call gives is no path that came from elsewhere."""
    import libcst as cst

    return isinstance(value, cst.Name) or (isinstance(value, cst.Attribute) and _named(value.value))


def regression_test(module: str) -> str:
    """No method of str is called on a parameter that is annotated as a Path."""
    return f'''\
import ast
import inspect
from pathlib import Path

import {module} as changed

METHODS = set(dir(str)) - set(dir(Path))


def test_no_method_of_str_is_called_on_a_path():
    """A parameter that is a Path has no methods of str."""
    for function in ast.walk(ast.parse(inspect.getsource(changed))):
        if not isinstance(function, ast.FunctionDef):
            continue
        arguments = [each for each in function.args.args if each.annotation]
        paths = {{each.arg for each in arguments if ast.unparse(each.annotation) == "Path"}}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                assert ast.unparse(node.value) not in paths, ast.unparse(node)
'''
