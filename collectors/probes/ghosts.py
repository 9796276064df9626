"""Tells when code reads the values of weights of which only the shapes are known.

Ghost weights are lazy loads from files whose body is a hole. Shapes, types, transposes, splits
and quantisation pass through them exactly; a value read from one would be an invention. Every
way from an array to its values is intercepted: an array whose graph contains a load from disk
raises :class:`ValueDependent`, and the run says where instead of going on with zeros. Evaluating
reads nothing yet: ghosts are left lazy, and the load goes on.
"""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Tuple

_METHODS = ("item", "tolist", "__array__", "__bool__", "__float__", "__int__", "__index__", "__dlpack__")
_NUMPY = ("array", "asarray", "ascontiguousarray", "asanyarray")
_OWN = "<diagnose>/"


class ValueDependent(BaseException):
    """The values of a weight were read where only its shape is known.

    Not an ``Exception``, so that a model's own ``except Exception`` cannot turn it into an outcome.
    """

    def __init__(self, operation: str, file: Optional[str], line: Optional[int]) -> None:
        super().__init__(operation)
        self.operation, self.file, self.line = operation, file, line


def _reader() -> Tuple[Optional[str], Optional[int]]:
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else (None, None)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _leaves(item)
    else:
        yield tree


@contextmanager
def refuse_reads() -> Iterator[None]:
    """While active, reading the values of anything that comes from a ghost raises."""
    import mlx.core as mx
    import numpy

    export = getattr(mx, "export_to_dot", None)

    def is_ghost(value: Any) -> bool:
        if not isinstance(value, mx.array):
            return False
        if export is None:
            return True
        graph = io.StringIO()
        export(graph, value)
        return "Load" in graph.getvalue()

    def guarded(function: Callable[..., Any], operation: str) -> Callable[..., Any]:
        def guard(*args: Any, **kwargs: Any) -> Any:
            if any(map(is_ghost, _leaves(args))):
                raise ValueDependent(operation, *_reader())
            return function(*args, **kwargs)

        return guard

    replaced = []

    def evaluating(function: Callable[..., Any], operation: str) -> Callable[..., Any]:
        def evaluate(*args: Any) -> Any:
            return function(*[leaf for leaf in _leaves(args) if not is_ghost(leaf)])

        return evaluate

    def replace(owner: Any, name: str, operation: str, around: Callable[..., Any] = guarded) -> None:
        original = getattr(owner, name, None)
        if original is None:
            return
        try:
            setattr(owner, name, around(original, operation))
        except (AttributeError, TypeError):
            return
        replaced.append((owner, name, original))

    for name in _METHODS:
        replace(mx.array, name, name.strip("_"))
    for name in ("eval", "async_eval"):
        replace(mx, name, name, evaluating)
    for name in _NUMPY:
        replace(numpy, name, "numpy." + name)
    try:
        yield
    finally:
        for owner, name, original in replaced:
            setattr(owner, name, original)
