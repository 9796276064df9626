"""How many matches a production would have, before an engine is asked to find them.

Neither engine can be interrupted, and patterns that no variable joins multiply: four of
them over a thousand facts are 10^12 matches. So partial matches are counted first, by a
join that keeps only the tokens still needed and their multiplicities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mlx_diagnose.engine.inference.network import Message, Production

#: Partial or full matches that one production may have.
MAX_MATCHES = 20_000


def overflowing(productions: Sequence[Production], messages: Sequence[Message], limit: int = MAX_MATCHES) -> set[int]:
    """Indices of the productions that would have more than ``limit`` partial or full matches."""
    counts = Counter(message.alpha for message in messages)
    suspects = [index for index, production in enumerate(productions) if _bound(production, counts) > limit]
    if not suspects:
        return set()
    tokens: dict[int, list[tuple[int, ...]]] = {}
    for message in messages:
        tokens.setdefault(message.alpha, []).append(message.tokens)
    return {index for index in suspects if _overflows(productions[index], tokens, limit)}


def _bound(production: Production, counts: Counter[int]) -> int:
    bound = highest = 1
    for condition in production.positive:
        bound *= counts[condition.alpha]
        highest = max(highest, bound)
    return highest


def _overflows(production: Production, tokens: dict[int, list[tuple[int, ...]]], limit: int) -> bool:
    partial: Counter[tuple[tuple[int, int], ...]] = Counter({(): 1})
    bound: set[int] = set()
    for place, condition in enumerate(production.positive):
        needed = {variable for later in production.positive[place + 1 :] for variable in later.variables}
        shared = [variable for variable in condition.variables if variable in bound]
        bound.update(condition.variables)
        index: dict[tuple[int, ...], Counter[tuple[tuple[int, int], ...]]] = {}
        for columns in tokens.get(condition.alpha, ()):
            values = dict(zip(condition.variables, columns, strict=True))
            key = tuple(values[variable] for variable in shared)
            kept = tuple((variable, values[variable]) for variable in sorted(needed.intersection(values)))
            index.setdefault(key, Counter())[kept] += 1
        sizes = {key: sum(bucket.values()) for key, bucket in index.items()}
        total = 0
        joined: list[tuple[dict[int, int], int, tuple[int, ...]]] = []
        for state, count in partial.items():
            values = dict(state)
            key = tuple(values[variable] for variable in shared)
            total += count * sizes.get(key, 0)
            if total > limit:
                return True
            if key in index:
                joined.append((values, count, key))
        partial = Counter()
        for values, count, key in joined:
            carried = {variable: token for variable, token in values.items() if variable in needed}
            for kept, number in index[key].items():
                partial[tuple(sorted({**carried, **dict(kept)}.items()))] += count * number
    return False
