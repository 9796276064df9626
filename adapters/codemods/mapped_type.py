"""A remapped model type is used, and parts of the name decide only where there is none.

From 0.2.8 to before 0.6.0 ``get_model_class`` uses a remapping only where it leaves the type as it is;
otherwise parts of the directory's name decide, so ``csm`` is not found to be ``sesame``.
"""

from __future__ import annotations

from typing import Any

TITLE = "Use the remapped model type before parts of the name"
CAUSE = (
    "get_model_class uses the remapping of a model type only if it equals the type itself; otherwise parts of the name "
    "of the directory decide, and a type that is known under another name is reported as not supported."
)


def transform(source: str, line: int | None) -> str:
    """``if name and mapped != type: A elif mapped: B`` as ``if mapped: B elif name: A``."""
    del line
    import libcst as cst

    def text(node: Any) -> str:
        return " ".join(cst.Module([]).code_for_node(node).split())

    class Swapped(cst.CSTTransformer):
        def leave_If(self, original_node: Any, updated_node: Any) -> Any:
            other = updated_node.orelse
            if text(updated_node.test) != "model_name is not None and model_type_mapped != model_type":
                return updated_node
            if other is None:  # before 0.3 the mapped type was only compared with
                taken: Any = cst.parse_statement(
                    "if model_type_mapped != model_type:\n    model_type = model_type_mapped\n"
                )
                return updated_node.with_changes(test=taken.test, body=taken.body)
            if not isinstance(other, cst.If) or other.orelse is not None or text(other.test) != _MAPPED:
                return updated_node
            named = updated_node.with_changes(test=cst.parse_expression("model_name is not None"), leading_lines=[])
            return other.with_changes(leading_lines=updated_node.leading_lines, orelse=named.with_changes(orelse=None))

    return cst.parse_module(source).visit(Swapped()).code


_MAPPED = "model_type_mapped is not None"


def regression_test(module: str) -> str:
    """A type that is known under another name is found, whatever the directory is called."""
    return f'''\
from {module} import get_model_class


def test_a_remapped_type_is_used(monkeypatch):
    """The remapping of the type decides, not the name of the directory."""
    import importlib

    imported = []
    monkeypatch.setattr(importlib, "import_module", imported.append)
    get_model_class("csm", ["some", "checkpoint"], "tts", {{"csm": "sesame"}})
    assert imported == ["mlx_audio.tts.models.sesame"]
'''
