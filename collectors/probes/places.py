"""What an object holds: how many tensors, and under which names the objects inside it stand."""

from __future__ import annotations

import re
import sys
from typing import Any, Collection, Dict, List, Sequence, Set, Tuple

from mlx_diagnose.collectors.probes.identity import identity

#: How deep and how far objects are searched for those that were made inside them.
_MAX_DEPTH = 3
_MAX_ITEMS = 2_000
_LEAVES = (str, int, float, type(None))
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")

Counts = Tuple[int, int, int]


class Places:
    """Looks into modules (``mlx.nn.Module`` is a dict) and plain objects, without running code of theirs.

    Types are asked with ``type``: ``isinstance`` asks an object's ``__class__``, which may be code.
    """

    def __init__(self) -> None:
        self._array: Any = getattr(sys.modules.get("mlx.core"), "array", ())
        self._known: Dict[Tuple[int, type], Counts] = {}

    def measure(self, made: Any) -> Counts:
        """Tensors in ``made``, their elements and bytes. Shapes alone are asked: nothing is evaluated.

        What was measured when it was made is not walked through again; an object that gets the
        number of a dead one is made, and so measured, anew.
        """
        if not issubclass(type(made), dict):
            return 0, 0, 0
        tensors = elements = size = 0
        queue: List[Any] = list(dict.values(made))
        array = self._array
        while queue:
            value = queue.pop()
            kind = type(value)
            if kind is array:
                tensors += 1
                elements += value.size
                size += value.nbytes
            elif issubclass(kind, _LEAVES):
                continue
            elif issubclass(kind, dict):
                known = self._known.get((identity(value), kind))
                if known is not None:
                    tensors, elements, size = tensors + known[0], elements + known[1], size + known[2]
                else:
                    queue.extend(dict.values(value))
            elif issubclass(kind, (list, tuple)):
                queue.extend(value)
        self._known[(identity(made), type(made))] = counts = (tensors, elements, size)
        return counts

    def names(self, made: Any, wanted: Set[int]) -> Dict[int, str]:
        """Names of the objects of which ``wanted`` has the ``id``, inside ``made``: ``layers.3.attention``."""
        found: Dict[int, str] = {}
        wanted = set(wanted)
        # The name of each is written out only where something is found in it.
        level: List[Tuple[Any, Any]] = [(None, made)]
        left = _MAX_ITEMS
        for depth in range(_MAX_DEPTH):
            if depth:
                level = [
                    ((place, key), value)
                    for place, owner in level
                    for key, value in _items(owner)
                    if type(value) is not self._array and not issubclass(type(value), _LEAVES)
                ]
            for place, owner in level:
                items = _items(owner)
                left -= len(items)
                for key, value in items:
                    if identity(value) in wanted:
                        wanted.discard(identity(value))
                        found[identity(value)] = _written((place, key))
                        if not wanted:
                            return found
                if left < 0:
                    return found
        return found

    @staticmethod
    def collapsed(names: Sequence[str]) -> "str | None":
        """One name for several that differ in numbers: ``layers.{0..31}.attention``."""
        if len(names) <= 1:
            return names[0] if names else None
        numbers: Dict[str, List[List[int]]] = {}
        for name in names:
            numbers.setdefault(_NUMBER.sub("{}", name), []).append([int(found) for found in _NUMBER.findall(name)])
        template, found = max(numbers.items(), key=lambda entry: len(entry[1]))
        for column in zip(*found):
            low, high = min(column), max(column)
            template = template.replace("{}", str(low) if low == high else "{%d..%d}" % (low, high), 1)
        more = len(numbers) - 1
        return template + (" and %d other names" % more if more else "")


def _written(place: Any) -> str:
    parts: List[str] = []
    while place is not None:
        place, key = place
        parts.append(str(key))
    return ".".join(reversed(parts))


def _items(owner: Any) -> Collection[Tuple[Any, Any]]:
    if issubclass(type(owner), dict):
        return dict.items(owner)
    if issubclass(type(owner), (list, tuple)):
        return list(enumerate(owner))
    try:
        held = object.__getattribute__(owner, "__dict__")
    except Exception:
        return ()
    return dict.items(held) if issubclass(type(held), dict) else ()
