"""What an object holds: how many tensors, and under which names the objects inside it stand."""

from __future__ import annotations

import re
import sys
from typing import Any, Dict, Iterable, List, Set, Tuple

#: How deep and how far objects are searched for those that were made inside them.
_MAX_DEPTH = 3
_MAX_ITEMS = 2_000
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
        while queue:
            value = queue.pop()
            if issubclass(type(value), self._array):
                tensors += 1
                elements += value.size
                size += value.nbytes
            elif issubclass(type(value), dict):
                known = self._known.get((id(value), type(value)))
                if known is not None:
                    tensors, elements, size = tensors + known[0], elements + known[1], size + known[2]
                else:
                    queue.extend(dict.values(value))
            elif issubclass(type(value), (list, tuple)):
                queue.extend(value)
        self._known[(id(made), type(made))] = counts = (tensors, elements, size)
        return counts

    def names(self, made: Any, wanted: Set[int]) -> Dict[int, str]:
        """Names of the objects of which ``wanted`` has the ``id``, inside ``made``: ``layers.3.attention``."""
        found: Dict[int, str] = {}
        wanted = set(wanted)
        level: List[Tuple[str, Any]] = [("", made)]
        left = _MAX_ITEMS
        for _ in range(_MAX_DEPTH):
            following: List[Tuple[str, Any]] = []
            for name, owner in level:
                for key, value in _items(owner):
                    left -= 1
                    if issubclass(type(value), (str, int, float, self._array)):
                        continue
                    place = "%s.%s" % (name, key) if name else str(key)
                    if id(value) in wanted:
                        wanted.discard(id(value))
                        found[id(value)] = place
                    following.append((place, value))
                if not wanted or left < 0:
                    return found
            level = following
        return found

    @staticmethod
    def collapsed(names: Iterable[str]) -> "str | None":
        """One name for several that differ in numbers: ``layers.{0..31}.attention``."""
        numbers: Dict[str, List[List[int]]] = {}
        for name in names:
            numbers.setdefault(_NUMBER.sub("{}", name), []).append([int(found) for found in _NUMBER.findall(name)])
        if not numbers:
            return None
        template, found = max(numbers.items(), key=lambda entry: len(entry[1]))
        for column in zip(*found):
            low, high = min(column), max(column)
            template = template.replace("{}", str(low) if low == high else "{%d..%d}" % (low, high), 1)
        more = len(numbers) - 1
        return template + (" and %d other names" % more if more else "")


def _items(owner: Any) -> Iterable[Tuple[Any, Any]]:
    if issubclass(type(owner), dict):
        return list(dict.items(owner))
    if issubclass(type(owner), (list, tuple)):
        return list(enumerate(owner))
    try:
        held = object.__getattribute__(owner, "__dict__")
    except Exception:
        return ()
    return list(held.items()) if issubclass(type(held), dict) else ()
