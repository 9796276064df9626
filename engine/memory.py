"""Working memory: the facts of a run, each asserted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mlx_diagnose.engine.model import Fact, Provenance, Scalar
from mlx_diagnose.engine.vocabulary import check_fields


class WorkingMemory:
    """Facts in the order of their assertion; the same fact asserted twice is one fact.

    Identity is kind and fields; the provenance of the first assertion is kept.
    """

    def __init__(self, prefix: str = "") -> None:
        """``prefix`` begins every id: the facts of several loads stand in one report."""
        self._prefix = prefix
        self._facts: dict[tuple[object, ...], Fact] = {}
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, provenance: Provenance, /, **fields: Scalar) -> Fact:
        """Assert a fact and return it (the earlier one, if it was known)."""
        checked = check_fields(kind, fields)
        # True == 1 and 1 == 1.0 in a key: types are part of the identity.
        key = (kind, tuple((name, (type(value).__name__, value)) for name, value in checked.items()))
        known = self._facts.get(key)
        if known is not None:
            return known
        self._counts[kind] += 1
        fact = Fact(kind, f"{self._prefix}{kind}-{self._counts[kind]}", checked, provenance)
        self._facts[key] = fact
        return fact

    def copy(self) -> WorkingMemory:
        """A memory of the same facts that can be added to without touching this one."""
        other = WorkingMemory(self._prefix)
        other._facts = dict(self._facts)
        other._counts = Counter(self._counts)
        return other

    def of(self, kind: str, **fields: Scalar) -> list[Fact]:
        """All facts of ``kind`` whose fields have the given values."""
        return [
            fact
            for fact in self._facts.values()
            if fact.kind == kind and all(fact.fields[name] == value for name, value in fields.items())
        ]

    def one(self, kind: str, **fields: Scalar) -> Fact | None:
        """The first of :meth:`of`, or None."""
        found = self.of(kind, **fields)
        return found[0] if found else None

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts.values())

    def __len__(self) -> int:
        return len(self._facts)
