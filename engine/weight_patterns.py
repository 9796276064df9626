"""Operations on many tensors written as few: a prefix, or a tensor of every layer, in one template."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mlx_diagnose.adapters.name_template import escaped
from mlx_diagnose.collectors.tensor_names import split_indices

Operation: TypeAlias = dict[str, Any]
Indices: TypeAlias = tuple[int, ...]

_PLACES = "ijklmnop"
#: The place of the number that counts the members of a stack, and what stands for it in a text; no name holds that.
_MEMBER, _COUNTED = "e", "\1"


def renames(pairs: Mapping[str, str], names: Collection[str], kept: Collection[str]) -> list[Operation]:
    """Operations that give each tensor of ``pairs`` its other name.

    ``names`` are all there are; those in ``kept`` fit as they are called and are not touched.
    Others may be, where one prefix is changed in all of them.
    """
    prefixes = {_prefixes(old, new) for old, new in pairs.items()}
    if len(prefixes) == 1:
        ((old, new),) = prefixes
        reached = [name for name in names if not old or name.startswith(f"{old}.")]
        moved = {_moved(name, old, new) for name in reached}
        stays = set(names) - set(reached)
        if len(pairs) > 1 and not set(reached) & set(kept) and not moved & stays:
            return [{"op": "rename", "from": _under(old), "to": _under(new)}]
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[Indices, tuple[str, str]]] = {}
    single: list[Operation] = []
    for old, new in pairs.items():
        before, at = split_indices(old)
        after = _texts_around(at, new)
        if at and after is not None:
            groups.setdefault((before, after), {})[at] = (old, new)
        else:
            single.append({"op": "rename", "from": escaped(old), "to": escaped(new)})
    existing = _by_texts(names)
    for (before, after), members in groups.items():
        for pattern, places in _patterns(before, members.keys(), existing[before]):
            single.append({"op": "rename", "from": pattern, "to": _joined(after, places)})
    return single


def renumberings(pairs: Mapping[str, str]) -> list[Operation]:
    """Operations that give each layer of ``pairs`` its other number, in an order in which no two ever share one.

    Empty where the layers go round in a circle.
    """
    waiting = dict.fromkeys(_prefixes(old, new) for old, new in pairs.items())
    operations: list[Operation] = []
    while waiting:
        held = {old for old, _ in waiting}
        ready = [(old, new) for old, new in waiting if new not in held]
        if not ready:
            return []
        for old, new in ready:
            operations.append({"op": "rename", "from": _under(old), "to": _under(new)})
            del waiting[old, new]
    return operations


def on_names(operation: Mapping[str, Any], wanted: Iterable[str], names: Collection[str]) -> list[Operation]:
    """``operation`` on each tensor of ``wanted`` and no other; its name is put in as ``name``."""
    found: list[Operation] = []
    groups: dict[tuple[str, ...], dict[Indices, None]] = {}
    for name in wanted:
        texts, at = split_indices(name)
        if at:
            groups.setdefault(texts, {})[at] = None
        else:
            found.append({**operation, "name": escaped(name)})
    existing = _by_texts(names)
    for texts, members in groups.items():
        found.extend({**operation, "name": pattern} for pattern, _ in _patterns(texts, members.keys(), existing[texts]))
    return found


def on_parts(operations: Iterable[Mapping[str, Any]], names: Collection[str]) -> list[Operation]:
    """Operations ``split`` and ``join`` on single tensors, those that differ in a number of the names only as one."""
    groups: dict[tuple[Any, ...], dict[Indices, Operation]] = {}
    single: list[Operation] = []
    for operation in operations:
        apart = [split_indices(name) for name in (*_texts(operation["from"]), *_texts(operation["to"]))]
        if apart[0][1] and len({at for _, at in apart}) == 1:
            key = (operation["op"], tuple(texts for texts, _ in apart), repr(operation.get("sizes")))
            groups.setdefault(key, {})[apart[0][1]] = dict(operation)
        else:
            single.append({**operation, **{key: _escaped(operation[key]) for key in ("from", "to")}})
    existing = _by_texts(names)
    for (_, texts, _), members in groups.items():
        (operation, *_) = members.values()
        for pattern, places in _patterns(texts[0], members.keys(), existing[texts[0]]):
            filled = [pattern, *(_joined(other, places) for other in texts[1:])]
            count = len(_texts(operation["from"]))
            sources, targets = filled[:count], filled[count:]
            several = isinstance(operation["from"], list)
            single.append(
                {
                    **operation,
                    "from": sources if several else sources[0],
                    "to": targets[0] if several else targets,
                }
            )
    return single


def on_stacks(stacks: Iterable[tuple[Sequence[str], int, str]], names: Collection[str]) -> list[Operation]:
    """Operations ``stack``: of each the members, which of their numbers counts them, and the whole."""
    groups: dict[tuple[tuple[str, ...], int, tuple[str, ...]], dict[Indices, None]] = {}
    for members, place, whole in stacks:
        texts, at = split_indices(members[0])
        others = (*at[:place], *at[place + 1 :])
        groups.setdefault((texts, place, split_indices(whole)[0]), {})[others] = None
    existing = _by_texts(names)
    found: list[Operation] = []
    for (texts, place, whole_texts), wanted in groups.items():
        # The number that counts is a part of the text for now.
        around = (*texts[:place], f"{texts[place]}{_COUNTED}{texts[place + 1]}", *texts[place + 2 :])
        there = {(*at[:place], *at[place + 1 :]) for at in existing[texts]}
        for pattern, places in _patterns(around, wanted.keys(), there):
            source = pattern.replace(_COUNTED, f"{{{_MEMBER}}}")
            found.append(
                {"op": "stack", "from": source, "over": _MEMBER, "axis": 0, "to": _joined(whole_texts, places)}
            )
    return found


def _texts(names: str | list[str]) -> list[str]:
    return names if isinstance(names, list) else [names]


def _escaped(names: str | list[str]) -> str | list[str]:
    return [escaped(name) for name in names] if isinstance(names, list) else escaped(names)


def _prefixes(old: str, new: str) -> tuple[str, str]:
    """What stands before the longest common ending of whole parts; of one tensor's two names."""
    left, right = old.split("."), new.split(".")
    same = 0
    for one, other in zip(reversed(left), reversed(right), strict=False):
        if one != other:
            break
        same += 1
    return ".".join(left[: len(left) - same]), ".".join(right[: len(right) - same])


def _texts_around(indices: Indices, name: str) -> tuple[str, ...] | None:
    """What stands around ``indices`` in ``name``, be they parts of their own or, as in ``layers_0``, not; else None."""
    texts, found = split_indices(name)
    if found == indices:
        return texts
    around = [""]
    wanted = list(map(str, indices))
    # A number that a letter stands before is part of a word, as in ``s3gen``.
    for piece in re.split(r"(?<![a-zA-Z0-9])(\d+)", name):
        if wanted and piece == wanted[0]:
            around.append("")
            del wanted[0]
        else:
            around[-1] += piece
    return tuple(around) if not wanted else None


def _moved(name: str, old: str, new: str) -> str:
    rest = name[len(old) + 1 :] if old else name
    return f"{new}.{rest}" if new else rest


def _under(prefix: str) -> str:
    return f"{escaped(prefix)}.{{rest}}" if prefix else "{rest}"


def _by_texts(names: Iterable[str]) -> dict[tuple[str, ...], set[Indices]]:
    existing: dict[tuple[str, ...], set[Indices]] = {}
    for name in names:
        texts, at = split_indices(name)
        existing.setdefault(texts, set()).add(at)
    return existing


def _patterns(
    texts: tuple[str, ...], members: Collection[Indices], existing: Collection[Indices]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Templates that mean exactly ``members`` of the ``existing`` ones, with what stands for each number."""
    if len(members) == 1:
        (at,) = members
        places = [str(number) for number in at]
        yield _joined(texts, places), places
        return
    axes = [sorted({at[axis] for at in members}) for axis in range(len(texts) - 1)]
    size = 1
    for axis in axes:
        size *= len(axis)
    whole = set(members) == set(existing)
    if size == len(members) or whole:
        named: list[str] = []
        plain: list[str] = []
        for letter, axis in zip(_PLACES, axes, strict=False):
            if len(axis) == 1:
                named.append(str(axis[0]))
                plain.append(str(axis[0]))
            else:
                named.append(f"{{{letter}}}" if whole else f"{{{letter}:{_runs(axis)}}}")
                plain.append(f"{{{letter}}}")
        yield _joined(texts, named), plain
        return
    for at in members:
        places = [str(number) for number in at]
        yield _joined(texts, places), places


def _runs(axis: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in axis:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}..{last}" for first, last in runs)


def _joined(texts: Sequence[str], places: Sequence[str]) -> str:
    escaped_texts = [escaped(text) for text in texts]
    return escaped_texts[0] + "".join(f"{place}{text}" for place, text in zip(places, escaped_texts[1:], strict=True))
