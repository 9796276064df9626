"""Loader shims: each says what it mends, and can be undone."""

from __future__ import annotations

import ast

import pytest

from mlx_diagnose.adapters import shims


def test_there_are_shims_and_no_others() -> None:
    assert {"metal-kernels", "sanitize-keeps-layout", "declared-type-first", "codec-when-used"} <= set(shims.names())
    with pytest.raises(KeyError):
        shims.source("../__init__")


@pytest.mark.parametrize("name", shims.names())
def test_a_shim_stands_alone(name: str) -> None:
    """It is sent as text: nothing of ours, syntax of older Pythons, an install() that gives back its undo."""
    tree = ast.parse(shims.source(name), feature_version=(3, 8))
    assert ast.get_docstring(tree)
    assert "mlx_diagnose" not in shims.source(name)
    (install,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert install.name == "install"
    last = install.body[-1]
    assert isinstance(last, ast.Return)
    assert isinstance(last.value, ast.Name)
    assert last.value.id == "undo"
