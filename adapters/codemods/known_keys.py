"""A class that is given a section of the config as keywords is given the keys that it takes.

``Decoder(..., **config.istftnet)`` (Kokoro) and ``SesameModelArgs(**config)`` (before 0.2.0) fail for any
key that the class does not know, as a newer conversion may have one.
"""

from __future__ import annotations

import re
from typing import Any

from mlx_diagnose.adapters.codemods._insertion import first_definition, with_function, with_import

TITLE = "Leave out keys of the config that the class does not take"
CAUSE = (
    "A section of the config is passed as keywords, so a key that the class does not know ends the load with a "
    "TypeError; the other config classes ignore such keys."
)
_HELPER = '''\
def known_keys(target, values):
    """Those of ``values`` that ``target`` takes as keywords."""
    names = inspect.signature(target).parameters
    return {name: value for name, value in values.items() if name in names}
'''


def transform(source: str, line: int | None) -> str:
    """``f(**values)`` that begins at ``line`` as ``f(**known_keys(f, values))``."""
    import libcst as cst
    from libcst.metadata import MetadataWrapper, PositionProvider

    wrapper = MetadataWrapper(cst.parse_module(source))
    positions = wrapper.resolve(PositionProvider)
    changed = False

    class Filtered(cst.CSTTransformer):
        def leave_Call(self, original_node: Any, updated_node: Any) -> Any:
            nonlocal changed
            place = positions[original_node]
            if line is None or not place.start.line <= line <= place.end.line or not _named(original_node.func):
                return updated_node
            arguments = []
            for argument in updated_node.args:
                if argument.star == "**" and not _filtered(argument.value):
                    changed = True
                    call = cst.Call(cst.Name("known_keys"), [cst.Arg(updated_node.func), cst.Arg(argument.value)])
                    argument = argument.with_changes(value=call)
                arguments.append(argument)
            return updated_node.with_changes(args=arguments)

    module = wrapper.module.visit(Filtered())
    if not changed:
        return source
    module = with_function(module, _HELPER, first_definition(module.body))
    return with_import(module, "import inspect\n").code  # type: ignore[no-any-return]


def _named(function: Any) -> bool:
    """A class or function under a name: what it takes can be asked twice."""
    import libcst as cst

    text = cst.Module([]).code_for_node(function)
    return re.fullmatch(r"[A-Za-z_][\w.]*", text) is not None and text != "dict"


def _filtered(value: Any) -> bool:
    import libcst as cst

    return isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value == "known_keys"


def regression_test(module: str) -> str:
    """Builds the model from a config that has a key more in each section."""
    return f'''\
import inspect

import {module} as changed


def test_keys_that_are_not_known_are_left_out():
    """A key that a class does not take must not end the load."""

    def target(width):
        return width

    assert changed.known_keys(target, {{"width": 1, "unknown": 2}}) == {{"width": 1}}
    assert "known_keys(" in inspect.getsource(changed)
'''
