"""Which tensors are others under another name.

Four readings are tried in this order, and each takes what fits from the next: names that
separate the same parts in another way (``encoders.0`` and ``encoders_0``), endings that are
known to mean the same (``weight_g`` and ``parametrizations.weight.original0``), prefixes that
were added, removed or replaced, and single names that look alike. A pair counts only if
its tensors agree in shape; the shape alone never makes one.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlx_diagnose.collectors.tensor_names import collapse, expand
from mlx_diagnose.collectors.tensor_templates import HOLE, Template, agreeing, by_template, pair_alike
from mlx_diagnose.collectors.tensors import TensorInfo, TensorTable

Pair: TypeAlias = tuple[str, str]
#: What two tensors must have in common to be one.
ShapeKey: TypeAlias = Callable[[TensorInfo], tuple[int, ...]]

#: Endings that mean the same in two frameworks: weight normalisation before and since PyTorch 2.0, and norms
#: as TensorFlow (and StyleTTS 2, in kokoro) names them.
KNOWN_ENDINGS: tuple[Pair, ...] = (
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
    ("gamma", "weight"),
    ("beta", "bias"),
)
_ENDINGS = (*KNOWN_ENDINGS, *((wanted, found) for found, wanted in KNOWN_ENDINGS))

#: What frameworks put between the parts of a name.
_SEPARATORS = re.compile(r"[._/:-]")
_NUMBERS = re.compile(r"\d+")

#: Tensors a side that are compared; beyond, only the first are.
MAX_TENSORS = 300_000
#: Renamings of prefixes that are told apart.
MAX_RENAMINGS = 500
#: Places at which one ending may occur among the wanted names before it says nothing about prefixes.
_MAX_PLACES = 8


@dataclass(frozen=True, slots=True)
class Renaming:
    """One way in which names differ, with all pairs (name found, name wanted) that it explains.

    ``style``, ``found``, ``wanted`` as in the fact ``tensor_rename``. ``ambiguous``: another
    assignment fits as well; the others of equal reach are in the list too.
    """

    style: str
    found: str
    wanted: str
    pairs: tuple[Pair, ...]
    ambiguous: bool = False


def same_shape(info: TensorInfo) -> tuple[int, ...]:
    """Equal shapes."""
    return info.shape


def same_axes(info: TensorInfo) -> tuple[int, ...]:
    """Equal shapes up to the order of axes."""
    return tuple(sorted(info.shape))


def find_renamings(found: TensorTable, wanted: TensorTable, *, key: ShapeKey = same_shape) -> list[Renaming]:
    """The renamings that make tensors of ``found`` ones of ``wanted``; the tables share no name.

    Deterministic, and about linear in the number of tensors. A pair is in one renaming only,
    except in alternatives that are marked as ambiguous.
    """
    search = _Search(found, wanted, key)
    if not search.found or not search.wanted:
        return []
    renamings = search.separators()
    renamings += search.endings()
    renamings += search.prefixes()
    renamings += search.endings()
    renamings += search.names()
    return renamings


#: Tensors that must agree in name but for a prefix where shapes do not say so, and their part of either side.
_MIN_BY_NAME, _SHARE_BY_NAME = 3, 0.5


def with_prefixes_alone(renamings: list[Renaming], found: TensorTable, wanted: TensorTable) -> list[Renaming]:
    """``renamings``, and of the other tensors those that agree in all of their names but one prefix.

    Where a number of the config is wrong as well, shapes that should agree do not.
    """
    used = {name for renaming in renamings for pair in renaming.pairs for name in pair}
    left = [name for name in found if name not in used]
    right = {name for name in wanted if name not in used}
    if len(left) < _MIN_BY_NAME or len(right) < _MIN_BY_NAME:
        return renamings
    added: dict[Pair, list[Pair]] = defaultdict(list)
    longer = {tail: name for name in right for tail in tails_of(name) if tail != name}
    for name in left:
        tail = next((tail for tail in tails_of(name) if tail in right), None)
        if tail is not None and tail != name:
            added[name[: -len(tail) - 1], ""].append((name, tail))
        elif name in longer:
            added["", longer[name][: -len(name) - 1]].append((name, longer[name]))
    enough = max(_MIN_BY_NAME, _SHARE_BY_NAME * min(len(left), len(right)))
    merged = {(renaming.found, renaming.wanted): renaming for renaming in renamings}
    for prefixes, pairs in added.items():
        known = merged.get(prefixes)
        if known is not None and not known.ambiguous:
            merged[prefixes] = Renaming(known.style, *prefixes, known.pairs + tuple(pairs))
        elif known is None and len(pairs) >= enough:
            merged[prefixes] = _prefix_renaming(prefixes, pairs, ambiguous=False)
    # Rivals of one reach stand in the list beside each other, some of the same prefixes.
    return [*(merged.pop((one.found, one.wanted), one) for one in renamings), *merged.values()]


def align(before: TensorTable, after: TensorTable) -> dict[str, str]:
    """For each tensor of ``before`` that is still in ``after``, its name there: the same, or as far as can be told."""
    same = {name: name for name in before if name in after}
    gone = {name: info for name, info in before.items() if name not in after}
    new = {name: info for name, info in after.items() if name not in before}
    for renaming in find_renamings(gone, new, key=same_axes):
        for old, now in renaming.pairs:
            same.setdefault(old, now)
    return same


class _Search:
    """What is still to be paired. ``virtual`` is the name of a found tensor after the prefixes found so far."""

    def __init__(self, found: TensorTable, wanted: TensorTable, key: ShapeKey) -> None:
        self.found = {name: key(info) for name, info, _ in zip(found, found.values(), range(MAX_TENSORS), strict=False)}
        self.wanted = {
            name: key(info) for name, info, _ in zip(wanted, wanted.values(), range(MAX_TENSORS), strict=False)
        }
        self.virtual = {name: name for name in self.found}

    def _take(self, pairs: Iterable[Pair]) -> None:
        for found, wanted in pairs:
            del self.found[found]
            del self.wanted[wanted]

    # -- separators ----------------------------------------------------------------------

    def separators(self) -> list[Renaming]:
        wanted = _by_parts(self.wanted)
        changes: dict[Pair, list[tuple[Pair, Pair]]] = {}
        for parts, name in _by_parts(self.found).items():
            target = wanted.get(parts)
            if name is None or target in (None, name) or self.found[name] != self.wanted[target]:
                continue
            tail = next(tail for tail in (*tails_of(name), "") if not tail or target.endswith(f".{tail}"))
            prefixes = (name[: len(name) - len(tail)].rstrip("."), target[: len(target) - len(tail)].rstrip("."))
            alike = (_NUMBERS.sub(HOLE, prefixes[0]), _NUMBERS.sub(HOLE, prefixes[1]))
            changes.setdefault(alike, []).append((prefixes, (name, target)))
        renamings = []
        for members in changes.values():
            pairs = [pair for _, pair in members]
            self._take(pairs)
            renamings.append(_prefix_renaming(_ranged([prefixes for prefixes, _ in members]), pairs, ambiguous=False))
        return renamings

    # -- known endings -------------------------------------------------------------------

    def endings(self) -> list[Renaming]:
        pairs: dict[Pair, list[Pair]] = {}
        taken = set()
        for name, shape in self.found.items():
            virtual = self.virtual[name]
            for ending in _ENDINGS:
                if not virtual.endswith(f".{ending[0]}"):
                    continue
                target = virtual[: -len(ending[0])] + ending[1]
                if target not in taken and self.wanted.get(target) == shape:
                    taken.add(target)
                    pairs.setdefault(ending, []).append((name, target))
                    break
        for members in pairs.values():
            self._take(members)
        return [Renaming("suffix-replaced", *ending, tuple(members)) for ending, members in pairs.items()]

    # -- prefixes ------------------------------------------------------------------------

    def prefixes(self) -> list[Renaming]:
        candidates = self._prefix_candidates()
        renamings: list[Renaming] = []
        chosen: list[Pair] = []
        # The candidate that explains most goes first. Counts only fall, so a stale one comes too early, never late.
        order = {prefixes: number for number, prefixes in enumerate(candidates)}
        queue = [
            (-len(pairs), len("".join(prefixes)), order[prefixes], prefixes) for prefixes, pairs in candidates.items()
        ]
        heapq.heapify(queue)
        while queue and len(renamings) < MAX_RENAMINGS:
            stale, length, number, prefixes = heapq.heappop(queue)
            pairs = self._free(candidates[prefixes])
            if len(pairs) < -stale:
                if pairs:
                    heapq.heappush(queue, (-len(pairs), length, number, prefixes))
                continue
            # One tensor alone proves no replacement; its whole name inside another's does.
            if len(pairs) < 2 and all(prefixes):
                continue
            rivals = self._rivals(pairs, candidates, queue)
            renamings.append(_prefix_renaming(prefixes, pairs, ambiguous=bool(rivals)))
            renamings += [_prefix_renaming(*rival, ambiguous=True) for rival in rivals]
            chosen.append(prefixes)
            self._take(pairs)
        chosen.sort(key=lambda prefixes: -len(prefixes[0]))
        for name in self.found:
            for old, new in chosen:
                if not old or name.startswith(f"{old}."):
                    self.virtual[name] = _joined(new, name[len(old) :].lstrip("."))
                    break
        return renamings

    def _prefix_candidates(self) -> dict[Pair, list[Pair]]:
        """Pairs by the prefixes that tell them apart, each found name's longest common ending left over.

        Names that differ in numbers only have their endings in common, so they are looked up
        together: ``layers.#.w`` in ``model.layers.#.w``.
        """
        tails: dict[str, list[tuple[str, Template]]] = defaultdict(list)
        for template in by_template((name, name, shape) for name, shape in self.wanted.items()):
            text = template.text
            for tail in tails_of(text):
                tails[tail].append((text[: len(text) - len(tail)].rstrip("."), template))
        candidates: dict[Pair, list[Pair]] = defaultdict(list)
        for template in by_template((name, name, shape) for name, shape in self.found.items()):
            text = template.text
            tail = next((tail for tail in tails_of(text) if tail in tails), "")
            if not tail or len(tails[tail]) > _MAX_PLACES:
                continue
            old = text[: len(text) - len(tail)].rstrip(".")
            for new, other in tails[tail]:
                _pair_up(template, old, other, new, tail, candidates)
        return candidates

    def _free(self, pairs: Iterable[Pair]) -> list[Pair]:
        return [(found, wanted) for found, wanted in pairs if found in self.found and wanted in self.wanted]

    def _rivals(
        self,
        pairs: list[Pair],
        candidates: Mapping[Pair, list[Pair]],
        queue: list[tuple[int, int, int, Pair]],
    ) -> list[tuple[Pair, list[Pair]]]:
        """Other prefixes that would explain the same found or the same wanted tensors just as well; three at most."""
        sides = [{pair[side] for pair in pairs} for side in (0, 1)]
        seen: list[tuple[int, int, int, Pair]] = []
        rivals: list[tuple[Pair, list[Pair]]] = []
        while queue and -queue[0][0] >= len(pairs) and len(seen) < 16 and len(rivals) < 3:
            seen.append(heapq.heappop(queue))
            prefixes = seen[-1][-1]
            free = self._free(candidates[prefixes])
            if len(free) == len(pairs) and any({pair[side] for pair in free} == sides[side] for side in (0, 1)):
                rivals.append((prefixes, free))
        for entry in seen:
            heapq.heappush(queue, entry)
        return rivals

    # -- names that look alike -----------------------------------------------------------

    def names(self) -> list[Renaming]:
        if not self.found or not self.wanted:
            return []
        left = by_template((name, self.virtual[name], shape) for name, shape in self.found.items())
        right = by_template((name, name, shape) for name, shape in self.wanted.items())
        renamings: list[Renaming] = []
        for one, other, ambiguous in pair_alike(left, right):
            renamings += _name_renamings(one, other, ambiguous)
        for renaming in renamings:
            self._take(self._free(renaming.pairs))
        return _merged_endings(renamings)


def _by_parts(names: Iterable[str]) -> dict[tuple[str, ...], str | None]:
    """Names by their parts, whatever separates them; None where two names have the same."""
    found: dict[tuple[str, ...], str | None] = {}
    for name in names:
        parts = tuple(_SEPARATORS.split(name))
        found[parts] = None if parts in found else name
    return found


def _ranged(prefixes: Sequence[Pair]) -> Pair:
    """Prefixes that differ in numbers only as one of each side: ``encoders.{0..5}``."""

    def side(at: int) -> str:
        numbers = list(zip(*(map(int, _NUMBERS.findall(pair[at])) for pair in prefixes), strict=True))
        ranges = (f"{{{min(of)}..{max(of)}}}" if min(of) < max(of) else str(of[0]) for of in numbers)
        return _NUMBERS.sub(lambda _: next(ranges), prefixes[0][at])

    return side(0), side(1)


def _pair_up(one: Template, old: str, other: Template, new: str, tail: str, candidates: dict[Pair, list[Pair]]) -> None:
    """Add the pairs of two templates, ``old.tail`` and ``new.tail``, that agree in shape and the tail's numbers."""
    held = old.count(HOLE)
    wanted_at = new.count(HOLE)
    by_tail: dict[tuple[int, ...], list[tuple[tuple[int, ...], str, tuple[int, ...]]]] = defaultdict(list)
    for indices, (name, shape) in other.members.items():
        by_tail[indices[wanted_at:]].append((indices[:wanted_at], name, shape))
    names: dict[tuple[tuple[int, ...], tuple[int, ...]], Pair | None] = {}
    for indices, (name, shape) in one.members.items():
        places = by_tail.get(indices[held:], [])
        if len(places) > _MAX_PLACES:
            continue
        for before, target, wanted_shape in places:
            if wanted_shape != shape:
                continue
            at = (indices[:held], before)
            if at not in names:
                prefixes = (_filled(old, at[0]), _filled(new, before))
                names[at] = prefixes if _is_prefix_change(*prefixes, tail) else None
            pair = names[at]
            if pair is not None:
                candidates[pair].append((name, target))


def _filled(prefix: str, indices: tuple[int, ...]) -> str:
    texts = prefix.split(HOLE)
    return texts[0] + "".join(f"{index}{text}" for index, text in zip(indices, texts[1:], strict=True))


def _name_renamings(one: Template, other: Template, ambiguous: bool) -> list[Renaming]:
    """The pair as a renaming: of the ending where only that differs, else of the collapsed name."""
    shared = one.common(other) or []
    pairs = tuple((one.members[at][0], other.members[at][0]) for at in shared)
    endings = _differing_endings(one.texts, other.texts)
    if endings is not None:
        return [Renaming("suffix-replaced", *endings, pairs, ambiguous)]
    to = dict(pairs)
    result = []
    # Equal numbers collapse alike, unless the prefix of a found name was changed as well.
    for group in collapse((name, None) for name in to):
        names = set(expand(group.pattern))
        members = [pair for pair in pairs if pair[0] in names]
        (target, *more) = collapse((wanted, None) for _, wanted in members)
        if not more:
            result.append(Renaming("renamed", group.pattern, target.pattern, tuple(members), ambiguous))
    return result


def _differing_endings(one: tuple[str, ...], other: tuple[str, ...]) -> Pair | None:
    """The last parts, without a number, if they and nothing else differ."""
    left, right = one[-1].split("."), other[-1].split(".")
    same = min(agreeing(left, right), len(left) - 1, len(right) - 1)
    # A whole name in which nothing is common has no ending.
    if one[:-1] != other[:-1] or left[-1] == right[-1] or (len(one) == 1 and same == 0):
        return None
    return ".".join(left[same:]), ".".join(right[same:])


def _merged_endings(renamings: list[Renaming]) -> list[Renaming]:
    """Renamings of the same ending as one."""
    merged: dict[tuple[str, str, str], Renaming] = {}
    for renaming in renamings:
        key = (renaming.style, renaming.found, renaming.wanted)
        known = merged.get(key)
        if known is not None:
            renaming = Renaming(*key, known.pairs + renaming.pairs, known.ambiguous or renaming.ambiguous)
        merged[key] = renaming
    return list(merged.values())


def _prefix_renaming(prefixes: Pair, pairs: list[Pair], *, ambiguous: bool) -> Renaming:
    found, wanted = prefixes
    style = "prefix-removed" if not found else "prefix-added" if not wanted else "prefix-replaced"
    return Renaming(style, found, wanted, tuple(pairs), ambiguous)


def _is_prefix_change(old: str, new: str, tail: str) -> bool:
    """Whether ``old`` for ``new`` is a change of prefix, not one inside the names of a numbered layer."""
    if not old or not new:
        return True
    if "." not in tail:
        return False  # any two tensors may both be called weight
    left, right = old.split("."), new.split(".")
    for one, other in zip(left, right, strict=False):
        if one.isdecimal() or other.isdecimal():
            return False
        if one != other:
            return True
    return True


def tails_of(name: str) -> Iterable[str]:
    """``a.b.c`` as ``a.b.c``, ``b.c``, ``c``."""
    yield name
    start = name.find(".") + 1
    while start:
        yield name[start:]
        start = name.find(".", start) + 1


def _joined(prefix: str, rest: str) -> str:
    return f"{prefix}.{rest}" if prefix and rest else prefix or rest
