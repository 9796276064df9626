"""Buffers that a model declares as parameters, that the checkpoint lacks, and that the model computes itself.

A freshly built module has a value everywhere: of a weight it is drawn, or the zeros and ones that training
starts from. It may be stored in the place of what is missing only where it is computed from the config: equal
in two builds with other random numbers, not one number everywhere, and by its name no weight. All else would
hide that something is missing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.adapters.buffer_values import packed
from mlx_diagnose.adapters.name_template import escaped
from mlx_diagnose.adapters.tensor_recipe import Computed
from mlx_diagnose.adapters.tensor_values import computed
from mlx_diagnose.adapters.weight_operations import DTYPES
from mlx_diagnose.engine.vocabulary import MAX_TEXT

#: Missing tensors whose own values are asked for.
MAX_NAMES = 200
#: Bytes of a buffer that is stored as a list of values.
MAX_BYTES = 1 << 14
#: Bytes of one operation's values; what is longer is added in parts and joined.
_PART = 1200
#: Last parts of names that buffers have: rotary embeddings, positions, windows, filters, masks, offsets.
_BUFFER = re.compile(
    r"(inv_freq|freqs?(_cis)?|(cos|sin)(_cached|_table)?|(pos|position)(s|_ids|_idx)?|\w*position_ids|pe|(\w+_)?window|"
    r"hann(ing)?|mel(_filters?|_basis|_fb)?|fb|filter(s|_?bank)?|(\w*_)?basis|(\w+_)?mask|tril|\w*offsets?)"
)
#: Bases of rotary embeddings that are tried as a formula.
_BASES = (10_000.0, 500_000.0, 1_000_000.0)

STARTS = (
    "it would hide a fault: what a new model has there is computed, but the name is that of a weight, and a trained "
    "one would be something else"
)
CONSTANT = (
    "it would hide a fault: a new model has one number everywhere there, as what is to be loaded or trained has at "
    "first"
)


@dataclass(frozen=True, slots=True)
class Buffer:
    """A missing tensor with the value that every new model has there. ``data``: little-endian bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes
    doubt: str | None

    def operations(self, called: str) -> list[dict[str, Any]]:
        """Operations of a weight map that add it under the name ``called``; none where it is too large."""
        common = {"op": "add", "name": escaped(called), "shape": list(self.shape), "dtype": self.dtype}
        formula = next(self._formulas(), None)
        if formula is not None:
            return [{**common, **formula}]
        if len(self.data) > MAX_BYTES:
            return []
        text = packed(self.data)
        if len(text) <= MAX_TEXT - 500:
            return [{**common, "how": "values", "values": text}]
        return self._in_parts(called)

    def _formulas(self) -> Iterator[dict[str, Any]]:
        """Ways to compute it that give these very bytes."""
        ways: list[tuple[str, float]] = [("arange", 0.0), ("arange", 1.0)] if self.shape else []
        ways += [("constant", 0.0), ("constant", 1.0)]
        ways += [("inverse-frequencies", base) for base in _BASES] if self.shape else []
        for how, value in ways:
            if b"".join(computed(Computed(how, self.dtype, self.shape, value))) == self.data:
                yield {"how": how, "value": value}

    def _in_parts(self, called: str) -> list[dict[str, Any]]:
        rows = self.shape[0]
        row = len(self.data) // rows
        step = _PART // row
        if step == 0:
            return []
        adds = []
        for number, start in enumerate(range(0, rows, step)):
            count = min(step, rows - start)
            piece = packed(self.data[start * row : (start + count) * row])
            shape = [count, *self.shape[1:]]
            name = escaped(f"{called}.part{number}")
            adds.append(
                {"op": "add", "name": name, "shape": shape, "dtype": self.dtype, "how": "values", "values": piece}
            )
        return [*adds, {"op": "join", "from": [add["name"] for add in adds], "axis": 0, "to": escaped(called)}]


def buffers(told: Mapping[str, Mapping[str, Any]]) -> list[Buffer]:
    """The buffers that the probe told of, each with its doubt; of weights drawn at random it tells nothing."""
    found = []
    for name, value in told.items():
        shape: tuple[int, ...] = tuple(int(size) for size in value["shape"])
        dtype = str(value["dtype"]).removesuffix("_")
        if dtype not in DTYPES:
            continue
        named = _BUFFER.fullmatch(name.rpartition(".")[2]) is not None or not value["trainable"]
        doubt = None
        if value["constant"]:
            # One number everywhere, and no name of a buffer: a weight, of which nothing is offered.
            doubt = CONSTANT if named else ""
        elif not named and 0 not in shape:
            doubt = STARTS
        if doubt != "":
            found.append(Buffer(name, dtype, shape, base64.b64decode(value["data"]), doubt))
    return found


def by_doubt(found: Iterable[Buffer]) -> dict[str | None, Sequence[Buffer]]:
    """Those that may be added and those that may not, apart."""
    groups: dict[str | None, list[Buffer]] = {}
    for buffer in found:
        groups.setdefault(buffer.doubt, []).append(buffer)
    return dict(groups)
