"""Projections that a checkpoint holds as one tensor and the model as several, or the other way round.

What belongs together is told by names, that it fits by shapes. The order of the parts in the whole is
spelt by its name (``qkv``, ``gate_up``) or known of it (``in_proj``, ``c_attn``); where neither tells,
shapes cannot, and a candidate says so in its doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.weights_difference import Difference

ORDER = "ambiguous: the names do not tell in which order the parts lie in the whole, and the shapes allow several"
HEADS = (
    "ambiguous: what is called query_key_value is laid out head by head in some families (GPT-NeoX, Bloom), and the "
    "shapes do not tell"
)

#: Words that a part is called by, by the letter that stands for it.
_SPELT: Mapping[str, frozenset[str]] = {
    "q": frozenset({"q", "query", "queries", "wq"}),
    "k": frozenset({"k", "key", "keys", "wk"}),
    "v": frozenset({"v", "value", "values", "wv"}),
    "gate": frozenset({"gate"}),
    "up": frozenset({"up"}),
}
#: Names of wholes, and their parts in the order in which they lie in it (torch.nn.MultiheadAttention, GPT-2).
_WHOLES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(^|_)w?qkv(_|$)|^query_key_value$|^in_proj$|^c_attn$", re.IGNORECASE), ("q", "k", "v")),
    (re.compile(r"(^|_)w?kv(_|$)", re.IGNORECASE), ("k", "v")),
    (re.compile(r"(^|_)gate_up(_|$)"), ("gate", "up")),
    (re.compile(r"(^|_)up_gate(_|$)"), ("up", "gate")),
)
_BY_HEADS = "query_key_value"
#: Parts of a whole that is called otherwise, at most.
_MAX_PARTS = 4
_WORD = re.compile(r"[a-z]+")
_IN_ONE_WORD = re.compile(r"(.+)_(weight|bias)")


@dataclass(frozen=True, slots=True)
class Parting:
    """One whole with its parts in order: of what is stored the names in the file, of what is made those in the model.

    ``sizes`` are along axis 0. ``received``: what sanitize makes of ``stored``, the first name in the file.
    """

    operation: str
    whole: str
    parts: tuple[str, ...]
    sizes: tuple[int, ...]
    doubt: str | None
    received: str

    @property
    def stored(self) -> str:
        return self.whole if self.operation == "split" else self.parts[0]

    def renamed(self, called: Callable[[str], str]) -> Parting:
        """The same with another name for what is made."""
        if self.operation == "split":
            return replace(self, parts=tuple(map(called, self.parts)))
        return replace(self, whole=called(self.whole))

    @property
    def data(self) -> dict[str, Any]:
        """The operation of a weight map."""
        if self.operation == "split":
            return {"op": "split", "from": self.whole, "axis": 0, "to": list(self.parts), "sizes": list(self.sizes)}
        return {"op": "join", "from": list(self.parts), "axis": 0, "to": self.whole}


def partings(difference: Difference, received: TensorTable, model: TensorTable) -> Iterator[Parting]:
    """Wholes that the model has in parts, then parts that it has as a whole; stored names for what is stored.

    Raises nothing; what sanitize renames beyond recognition is left out.
    """
    before = {now: old for old, now in difference.names.items()}
    missing = {name: model[name].shape for name in difference.missing}
    unexpected = {name: received[name].shape for name in difference.unexpected if name in before}
    for operation, wholes, others in (("split", unexpected, missing), ("join", missing, unexpected)):
        beside = _by_owner(others)
        for whole, shape in wholes.items():
            owner, last, kind = _taken_apart(whole)
            found = _parts(last, beside.get((owner, kind), {}), others, shape)
            if found is None:
                continue
            parts, doubt = found
            sizes = tuple(others[part][0] for part in parts)
            if operation == "split":
                yield Parting("split", before[whole], parts, sizes, doubt, whole)
            else:
                yield Parting("join", whole, tuple(before[part] for part in parts), sizes, doubt, parts[0])


def _taken_apart(name: str) -> tuple[str, str, str]:
    """Owner, last module and kind: ``a``, ``qkv`` and ``weight`` of ``a.qkv.weight`` or ``a.qkv_weight``."""
    module, _, kind = name.rpartition(".")
    one = _IN_ONE_WORD.fullmatch(kind)
    if one is not None:
        return module, one[1], one[2]
    owner, _, last = module.rpartition(".")
    return owner, last, kind


def _by_owner(names: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], dict[str, str]]:
    """The tensors beside each other, by the last module's name."""
    beside: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        owner, last, kind = _taken_apart(name)
        beside.setdefault((owner, kind), {})[last] = name
    return beside


def _parts(
    whole: str, beside: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], shape: tuple[int, ...]
) -> tuple[tuple[str, ...], str | None] | None:
    """The names of the parts of ``whole`` in order, and any doubt; None where they do not add up."""
    for pattern, letters in _WHOLES:
        if pattern.search(whole):
            named = [[name for last, name in beside.items() if _is(letter, last)] for letter in letters]
            if all(len(names) == 1 for names in named):
                parts = tuple(names[0] for names in named)
                if _adds_up(parts, shapes, shape):
                    return parts, HEADS if whole.lower() == _BY_HEADS else None
    parts = tuple(beside.values())
    if 2 <= len(parts) <= _MAX_PARTS and _adds_up(parts, shapes, shape):
        return parts, ORDER
    return None


def _is(letter: str, last: str) -> bool:
    return bool(_SPELT[letter] & set(_WORD.findall(last.lower())))


def _adds_up(parts: Sequence[str], shapes: Mapping[str, tuple[int, ...]], shape: tuple[int, ...]) -> bool:
    of = [shapes[part] for part in parts]
    return all(len(one) == len(shape) > 0 and one[1:] == shape[1:] for one in of) and (
        sum(one[0] for one in of) == shape[0]
    )
