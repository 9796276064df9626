"""Only what can be a module's name is looked for as a module.

Before 0.4.4 ``get_model_category`` looks for every part of a directory's name as a module; ``v1.5`` begins with
a letter, so it is looked for, and ``find_spec`` raises for the package ``v1`` that there is not.
"""

from __future__ import annotations

from typing import Any

TITLE = "Look only for what can be a module's name as a module"
CAUSE = (
    "Each part of the directory's name is looked for as a module. A part with a dot in it is taken for a name of a "
    "module, and find_spec raises ModuleNotFoundError for its first half instead of finding nothing, so a model that "
    "is called so cannot be loaded, or the true failure is hidden."
)
_LETTER = 'name[0].isalpha() or name[0] == "_"'


def transform(source: str, line: int | None) -> str:
    """What ``is_valid_module_name`` returns as ``name.isidentifier()``."""
    del line
    import libcst as cst

    class Identifiers(cst.CSTTransformer):
        def visit_FunctionDef(self, node: Any) -> bool:
            return bool(node.name.value == "is_valid_module_name")

        def leave_Return(self, original_node: Any, updated_node: Any) -> Any:
            value = updated_node.value
            if value is None or cst.Module([]).code_for_node(value) != _LETTER:
                return updated_node
            return updated_node.with_changes(value=cst.parse_expression("name.isidentifier()"))

    return cst.parse_module(source).visit(Identifiers()).code


def regression_test(module: str) -> str:
    """What has a dot in it is no name of a module."""
    return f'''\
from {module} import get_model_category, is_valid_module_name


def test_a_dot_is_no_part_of_a_name():
    """A part such as v1.5 of a directory's name must not be looked for as a module."""
    assert is_valid_module_name("kokoro")
    assert not is_valid_module_name("v1.5")
    assert get_model_category("no_such_type", ["some", "v1.5"]) is None
'''
