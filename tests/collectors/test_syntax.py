"""Trees walked by hand against :mod:`ast` itself."""

from __future__ import annotations

import ast
import gc
import inspect
import sys
import threading
import time
from pathlib import Path

import pytest

from mlx_diagnose.collectors import function_evaluation, syntax

_SOURCES = (ast, inspect, function_evaluation)
_EVERYTHING = """
@decorated(1, key=f"{a!r:>{width}}")
async def f(p, /, q: int = 1, *args, r=2, **kw) -> "x":
    global g
    async with a as b, c: ...
    async for i in x: await y
    match z:
        case {"k": [1, *rest], **others} if a < b <= c: pass
        case C(x, y=1) | None: pass
    del u[1:2, ...], v.w
    return [k for k in t if k for l in k], {m: n for m in o}, (lambda s: not -s)
class D(B, metaclass=M):
    a, (b, *c) = yield_ = 1
    d: int
    d += 1
try: from . import a as b
except (E, F) as e: raise e from None
else: x = y if z else w
finally: print("a" "b", sep="")
"""


def _is_leaf(node: ast.AST) -> bool:
    return isinstance(node, (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop))


@pytest.mark.parametrize("source", [*map(inspect.getsource, _SOURCES), _EVERYTHING])
def test_nodes_come_in_the_order_of_ast_without_contexts_and_operators(source: str) -> None:
    tree = ast.parse(source)
    assert syntax.walk(tree) == [node for node in ast.walk(tree) if not _is_leaf(node)]
    for node in ast.walk(tree):
        assert syntax.children(node) == [child for child in ast.iter_child_nodes(node) if not _is_leaf(child)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with Python 3.12")
def test_type_parameters_are_walked_as_well() -> None:
    tree = ast.parse("type A[T: int] = list[T]\ndef f[T](x: T): ...")
    assert syntax.walk(tree) == [node for node in ast.walk(tree) if not _is_leaf(node)]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("a = 1")
    before = syntax.syntax_tree(file)
    assert syntax.syntax_tree(file) is before
    file.write_text("b = 22")  # clocks of file systems may stand still in between
    assert ast.unparse(syntax.syntax_tree(file)) == "b = 22"


#: Deep and large enough that the collector of garbage runs in the middle of making its tree.
_DEEP = "\n".join(f"value_{number} = " + "(1 + " * 20 + "1" + ")" * 20 for number in range(60))


def test_threads_do_not_disturb_each_other() -> None:
    """CPython before 3.11.8 and 3.12.2 fails here with ``ast.parse`` itself, where a collection lets others run."""
    failures: list[BaseException] = []

    def work() -> None:
        for _ in range(4):
            try:
                syntax.parse(_DEEP)
            except BaseException as error:
                failures.append(error)

    def let_others_run(_phase: str, _info: dict[str, int]) -> None:
        time.sleep(0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    before = gc.get_threshold()
    gc.callbacks.append(let_others_run)
    gc.set_threshold(50)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(let_others_run)
    assert not failures


def test_expressions() -> None:
    assert isinstance(syntax.parse_expression("a | None"), ast.BinOp)
    with pytest.raises(SyntaxError):
        syntax.parse_expression("a = 1")
