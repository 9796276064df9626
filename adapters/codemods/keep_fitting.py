"""``sanitize`` leaves tensors alone that are in the model's own layout already.

Convolutions of PyTorch are transposed for MLX; a checkpoint that was converted before is transposed a
second time (Kokoro before 0.4.3, and today where a layout cannot be told by its shape).
"""

from __future__ import annotations

from typing import Any

from mlx_diagnose.adapters.codemods._insertion import with_import
from mlx_diagnose.adapters.codemods._sanitize import with_checked_result

TITLE = "sanitize leaves tensors alone that have the model's layout already"
CAUSE = (
    "sanitize transposes convolutions whatever layout they are in, so a checkpoint that was converted to MLX's layout "
    "is transposed a second time, and the load ends with a wrong shape."
)
_HELPER = '''\
def keep_fitting(model, given, made):
    """``made`` by sanitize, or what was ``given`` if that is in the model's layout."""
    expected = {name: array.shape for name, array in tree_flatten(model.parameters())}
    fitting = {
        name: array
        for name, array in given.items()
        if name in made and array.shape == expected.get(name)
    }
    if any(made[name].shape != array.shape for name, array in fitting.items()):
        # Where axes are of one length the shape does not tell: they went the same way.
        for name, array in fitting.items():
            if array.ndim > 2 or made[name].shape != array.shape:
                made[name] = array
    return made
'''


def transform(source: str, line: int | None) -> str:
    """What ``Model.sanitize`` returns goes through ``keep_fitting``."""
    del line
    import libcst as cst

    module = cst.parse_module(source)
    made = with_checked_result(module, _HELPER, ("self", "given"))
    return source if made is module else _with_tree_flatten(made).code  # type: ignore[no-any-return]


def _with_tree_flatten(module: Any) -> Any:
    import libcst as cst
    from libcst import matchers

    imported = matchers.ImportFrom(
        names=[matchers.ZeroOrMore(), matchers.ImportAlias(name=matchers.Name("tree_flatten")), matchers.ZeroOrMore()]
    )
    if matchers.findall(module, imported):
        return module
    body = list(module.body)
    last = max(
        (n for n, row in enumerate(body) if isinstance(row, cst.SimpleStatementLine) and _of_mlx(row)), default=-1
    )
    statement = cst.parse_statement("from mlx.utils import tree_flatten\n")
    if last < 0:
        return with_import(module, "from mlx.utils import tree_flatten\n")
    return module.with_changes(body=[*body[: last + 1], statement, *body[last + 1 :]])


def _of_mlx(row: Any) -> bool:
    import libcst as cst

    text = cst.Module([]).code_for_node(row).strip()
    return text.startswith(("import mlx.", "from mlx."))


def regression_test(module: str) -> str:
    """``keep_fitting`` on a model of one convolution."""
    return f'''\
import mlx.core as mx
import mlx.nn as nn

import {module} as changed


def test_what_has_the_layout_of_the_model_is_left_alone():
    """sanitize of a converted checkpoint must not transpose it again."""
    model = nn.Conv1d(2, 4, 3)
    given = dict(weight=mx.zeros((4, 3, 2)), bias=mx.zeros((4,)))
    made = dict(given, weight=given["weight"].transpose(0, 2, 1))
    assert changed.keep_fitting(model, given, made)["weight"].shape == (4, 3, 2)
    square = dict(given, square=mx.arange(9).reshape(1, 3, 3))
    made = {{name: array.transpose(0, 2, 1) if array.ndim > 2 else array for name, array in square.items()}}
    model.square = mx.zeros((1, 3, 3))
    assert mx.array_equal(changed.keep_fitting(model, square, made)["square"], square["square"])
    del model.square
    torch = dict(given, weight=mx.zeros((4, 2, 3)))
    made = dict(torch, weight=torch["weight"].transpose(0, 2, 1))
    assert changed.keep_fitting(model, torch, made)["weight"].shape == (4, 3, 2)
'''
