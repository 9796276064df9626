"""Tensors whose axes have to be stored in another order, and those of which no shape tells whether they have to.

A tensor with axes of equal length fits in either order. Whether it lies as it should is told by those of its kind
whose shapes do tell: the same tensor of other layers, else the same kind of layer. Where these do not agree
or there are none, nothing tells, and the candidate says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mlx_diagnose.collectors.tensor_layouts import Permutation, fitting
from mlx_diagnose.collectors.tensor_names import Collapsed, collapse, expand, split_indices
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.weights_difference import Difference

AXES = "ambiguous: axes of equal length leave several orders, and the shapes do not tell which is right"
EQUAL_AXES = (
    "ambiguous: sanitize may move the axes of other tensors as well, whose axes are equally long, and the shapes "
    "do not tell"
)
SIBLING = (
    "ambiguous: {name} is of the same kind, its axes are equally long, and neither its shape nor those of its kind "
    "tell whether they are in the wrong order as well"
)

#: The orders that the model wants of what it was given, and in which sanitize may have taken what is stored.
_Orders: TypeAlias = tuple[tuple[Permutation, ...], tuple[Permutation, ...]]


@dataclass(frozen=True, slots=True)
class Moving:
    """Tensors, collapsed (``patterns``), and ways to reorder what is stored: stored names by order of axes."""

    patterns: tuple[str, ...]
    ways: tuple[dict[Permutation, list[str]], ...]
    tensors: int
    doubt: str | None


def movings(stored: TensorTable, difference: Difference, received: TensorTable, model: TensorTable) -> Iterator[Moving]:
    """All that is sure is one change (what moved the axes of one moved those of the others), the rest another."""
    before = {now: old for old, now in difference.names.items()}
    rows: list[tuple[str, _Orders]] = []
    shown = _shown_orders(stored, difference, received)
    everywhere = {order for orders in shown.values() for order in orders}
    for name in difference.shape:
        wanted = fitting(received[name].shape, model[name].shape)
        old = before.get(name)
        if wanted and old is not None and len(stored[old].shape) == len(received[name].shape):
            applied = fitting(stored[old].shape, received[name].shape)
            applied = _likely(_likely(applied, everywhere), shown[split_indices(name)[0]])
            rows.append((name, (wanted, applied)))
    groups = collapse(_by_siblings(rows, everywhere))
    held = {name: stored[before[name]].shape for name in model if name in received and name in before}
    for unsure in (False, True):
        members = [group for group in groups if _is_unsure(*group.key) is unsure]
        if not members:
            continue
        ways = []
        doubt = AXES if unsure else None
        for choose in (_conjugate, _wanted_order, _order_before_sanitize):
            orders = {name: choose(*group.key) for group in members for name in expand(group.pattern)}
            unseen, unknown = _unseen(orders, members, held, received, model)
            by_order: dict[Permutation, list[str]] = {}
            for name, order in {**orders, **unseen}.items():
                by_order.setdefault(order, []).append(before[name])
            ways.append(by_order)
            doubt = (doubt or unknown) if choose is _conjugate else doubt
        moved = [name for group in members for name in expand(group.pattern)]
        # Alike as the facts about them are: in all shapes.
        alike = collapse((name, (held[name], received[name].shape, model[name].shape)) for name in moved)
        yield Moving(tuple(group.pattern for group in alike), tuple(ways), len(moved), doubt)


def _is_unsure(wanted: tuple[Permutation, ...], applied: tuple[Permutation, ...]) -> bool:
    """Several orders of what is stored may be the one."""
    return len({_conjugate((after,), (by,) if by else ()) for after in wanted for by in applied or ((),)}) > 1


def _by_siblings(rows: Sequence[tuple[str, _Orders]], everywhere: set[Permutation]) -> Iterator[tuple[str, _Orders]]:
    """The same with what the model wants of a tensor in any layer, where one of the layers leaves no choice,
    else in the orders that are taken ``everywhere``."""
    sure: dict[tuple[str, ...], set[Permutation]] = defaultdict(set)
    for name, (wanted, _) in rows:
        if len(wanted) == 1:
            sure[split_indices(name)[0]].add(wanted[0])
    for name, (wanted, applied) in rows:
        yield name, (_likely(_likely(wanted, sure[split_indices(name)[0]]), everywhere), applied)


def _likely(orders: tuple[Permutation, ...], shown: set[Permutation]) -> tuple[Permutation, ...]:
    """Of several orders those in which sanitize was seen to take axes."""
    return tuple(order for order in orders if order in shown) or orders


def _unseen(
    orders: Mapping[str, Permutation],
    members: Sequence[Collapsed[_Orders]],
    held: Mapping[str, tuple[int, ...]],
    received: TensorTable,
    model: TensorTable,
) -> tuple[dict[str, Permutation], str | None]:
    """Tensors that fit in either order and lie in the wrong one as their kind does, and a doubt about others.

    Orders are those of what is stored, whose shapes are ``held``, by the names in the model.
    """
    moves = {_inverse(order) for group in members for order in group.key[1]}
    fits = {name: received[name].shape == model[name].shape for name in held if len(held[name]) > 2}
    by_template: dict[tuple[str, ...], list[str]] = defaultdict(list)
    by_kind: dict[str, list[str]] = defaultdict(list)
    for name in fits:
        by_template[split_indices(name)[0]].append(name)
        by_kind[_kind(name)].append(name)
    found: dict[str, Permutation] = {}
    doubt = None
    for name in fits:
        if name in orders or not fits[name]:
            continue
        siblings = by_template[split_indices(name)[0]]
        beside = any(sibling in orders for sibling in siblings)
        # What sanitize does to one tensor it may do to any.
        asked = {*moves, *(orders[sibling] for sibling in siblings if sibling in orders)}
        if not any(_stays(held[name], order) for order in asked):
            continue
        told = _told(siblings, orders, held, fits)
        if told is None and not beside:
            told = _told(by_kind[_kind(name)], orders, held, fits)
        if told is None:
            doubt = doubt or (SIBLING.format(name=name) if beside else EQUAL_AXES)
        elif told and _stays(held[name], told):
            found[name] = told
    return found, doubt


def _told(
    kind: Sequence[str],
    orders: Mapping[str, Permutation],
    held: Mapping[str, tuple[int, ...]],
    fits: Mapping[str, bool],
) -> Permutation | None:
    """The order that tensors of a ``kind`` need, none, ``()``, if they lie as they should, None if they do not tell.

    One in the wrong order may be the only one; several, and none that is right, are all of their kind.
    """
    wrong = [orders[name] for name in kind if name in orders]
    right = 0
    for name in kind:
        asked = set(wrong) or {_LAST_TWO.get(len(held[name]), ())}
        right += name not in orders and fits[name] and not any(_stays(held[name], order) for order in asked)
    if right > len(wrong):
        return ()
    if not right and len(wrong) > 1 and len(set(wrong)) == 1:
        return wrong[0]
    return None


#: The order by which PyTorch's convolutions differ from MLX's, but for what comes first.
_LAST_TWO: dict[int, Permutation] = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}


def _kind(name: str) -> str:
    """The layer's and the tensor's name without numbers: ``conv.weight`` of ``blocks.3.conv1.weight``."""
    module, _, last = name.rpartition(".")
    parts = [part for part in module.split(".") if not part.isdecimal()]
    return f"{parts[-1].rstrip('0123456789_') if parts else ''}.{last}"


def _stays(shape: tuple[int, ...], order: Permutation) -> bool:
    """The shape is the same in this order, and the values may not be."""
    moved = [shape[axis] for place, axis in enumerate(order) if place != axis] if len(order) == len(shape) else []
    return bool(moved) and max(moved) > 1 and tuple(shape[axis] for axis in order) == shape


def _conjugate(wanted: tuple[Permutation, ...], applied: tuple[Permutation, ...]) -> Permutation:
    """The order of what is stored that sanitize turns into the one that the model wants."""
    if not applied:
        return wanted[0]
    by, after = applied[0], wanted[0]
    order = [0] * len(by)
    for axis, taken in enumerate(by):
        order[taken] = by[after[axis]]
    return tuple(order)


def _wanted_order(wanted: tuple[Permutation, ...], applied: tuple[Permutation, ...]) -> Permutation:
    """The order that turns what the model was given into what it wants."""
    return wanted[0]


def _order_before_sanitize(wanted: tuple[Permutation, ...], applied: tuple[Permutation, ...]) -> Permutation:
    """The order that sanitize turns into the one it was stored in."""
    return _inverse(applied[0]) if applied else wanted[0]


def _shown_orders(
    stored: TensorTable, difference: Difference, received: TensorTable
) -> dict[tuple[str, ...], set[Permutation]]:
    """Orders in which sanitize takes the axes of tensors that leave no choice, by their names without numbers."""
    shown: dict[tuple[str, ...], set[Permutation]] = defaultdict(set)
    for old, now in difference.names.items():
        if old in stored and now in received and stored[old].shape != received[now].shape:
            orders = fitting(stored[old].shape, received[now].shape)
            if len(orders) == 1:
                shown[split_indices(now)[0]].add(orders[0])
    return shown


def _inverse(order: Permutation) -> Permutation:
    return tuple(order.index(axis) for axis in range(len(order)))
