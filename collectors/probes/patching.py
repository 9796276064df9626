"""Wraps put around the patient's functions for the time of one look, and taken off again."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Callable, List, Optional, Set, Tuple, Type

from mlx_diagnose.collectors.probes import stages

_ABSENT = object()


class Patches:
    """Replaced attributes of classes; leaving the context puts the old ones back."""

    def __init__(self) -> None:
        self._undo: List[Tuple[Any, str, Any]] = []
        self._done: Set[Tuple[int, str]] = set()

    def wrap(self, owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace ``owner.name`` by ``around`` of it, once; what is not there or refuses is left alone."""
        if (id(owner), name) in self._done:
            return
        own = getattr(owner, "__dict__", {}).get(name, _ABSENT)
        if stages.wrap_attribute(owner, name, around):
            self._done.add((id(owner), name))
            self._undo.append((owner, name, own))

    def __enter__(self) -> Patches:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for owner, name, own in reversed(self._undo):
            if own is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
