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
#: What types are taken as; the first two hold nothing.
_LEAF, _ARRAY, _DICT, _ROW, _OBJECT = range(5)
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")

Counts = Tuple[int, int, int]


class Places:
    """Looks into modules (``mlx.nn.Module`` is a dict) and plain objects, without running code of theirs.

    Types are asked with ``type``: ``isinstance`` asks an object's ``__class__``, which may be code.
    """

    def __init__(self) -> None:
        self._array: Any = getattr(sys.modules.get("mlx.core"), "array", ())
        #: What a type is to be taken as: asked at every value, worked out once.
        self._sorts: Dict[type, int] = {}
        self._known: Dict[int, Counts] = {}
        self._kinds: Dict[int, type] = {}

    def _sort(self, kind: type) -> int:
        sort = self._sorts[kind] = (
            _ARRAY
            if kind is self._array
            else _LEAF
            if issubclass(kind, _LEAVES)
            else _DICT
            if issubclass(kind, dict)
            else _ROW
            if issubclass(kind, (list, tuple))
            else _OBJECT
        )
        return sort

    def measure(self, made: Any) -> Counts:
        """Tensors in ``made``, their elements and bytes. Shapes alone are asked: nothing is evaluated.

        What was measured when it was made is not walked through again; an object that gets the
        number of a dead one is made, and so measured, anew.
        """
        if not issubclass(type(made), dict):
            return 0, 0, 0
        tensors = elements = size = 0
        sorts, kinds = self._sorts, self._kinds
        queue: List[Any] = list(dict.values(made))
        for value in queue:
            kind = type(value)
            sort = sorts.get(kind)
            if sort is None:
                sort = self._sort(kind)
            if sort == _LEAF:
                continue
            if sort == _ARRAY:
                tensors += 1
                elements += value.size
                size += value.nbytes
            elif sort == _DICT:
                number = identity(value)
                if kinds.get(number) is kind:
                    known = self._known[number]
                    tensors, elements, size = tensors + known[0], elements + known[1], size + known[2]
                else:
                    queue.extend(dict.values(value))
            elif sort == _ROW:
                queue.extend(value)
        number = identity(made)
        kinds[number] = type(made)
        self._known[number] = counts = (tensors, elements, size)
        return counts

    def names(self, made: Any, wanted: Set[int]) -> Dict[int, str]:
        """Names of the objects of which ``wanted`` has the ``id``, inside ``made``: ``layers.3.attention``."""
        found: Dict[int, str] = {}
        sorts = self._sorts
        # The name of each is written out only where something is found in it.
        level: List[Tuple[Any, Any]] = [(None, made)]
        left = _MAX_ITEMS
        for _ in range(_MAX_DEPTH):
            below: List[Tuple[Any, Any]] = []
            for place, owner in level:
                items = self._items(owner)
                left -= len(items)
                for key, value in items:
                    kind = type(value)
                    sort = sorts.get(kind)
                    if sort is None:
                        sort = self._sort(kind)
                    if sort <= _ARRAY:
                        continue
                    number = identity(value)
                    if number in wanted and number not in found:
                        found[number] = _written((place, key))
                        if len(found) == len(wanted):
                            return found
                    below.append(((place, key), value))
                if left < 0:
                    return found
            level = below
        return found

    def _items(self, owner: Any) -> Collection[Tuple[Any, Any]]:
        sort = self._sorts.get(type(owner))
        if sort is None:
            sort = self._sort(type(owner))
        if sort == _DICT:
            return dict.items(owner)
        if sort == _ROW:
            return list(enumerate(owner))
        try:
            held = object.__getattribute__(owner, "__dict__")
        except Exception:
            return ()
        return dict.items(held) if issubclass(type(held), dict) else ()

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
