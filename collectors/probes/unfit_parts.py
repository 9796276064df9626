"""Parts that a family fills by itself, not strictly, with tensors of other shapes than theirs, or with none of theirs.

``Module.load_weights(..., strict=False)`` compares nothing, so a codec whose config and weights disagree is
loaded without a word and fails, or gives noise, where it is used. One that is given another's tensors
keeps the random numbers that it was made with.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from mlx_diagnose.collectors.probes import tensors

_MAX_PARTS = 8


class UnfitParts:
    """Notes of parts and what they were given, taken before the weights are in."""

    def __init__(self) -> None:
        self._noted: List[Any] = []
        #: By identity, parts that were given tensors, and what is to be told if none of them was theirs.
        self._given: Dict[int, Any] = {}

    def note(self, part: Any, weights: Any) -> None:
        """Compare the shapes of ``part`` with those of ``weights``, pairs of name and array."""
        wanted, given = tensors.parameters(part), tensors.table(weights)
        layers = tensors.in_layers(part)
        if any(name in given for name in wanted):
            self._given[id(part)] = part, None
        elif layers and given and id(part) not in self._given:
            told = {
                "class_name": type(part).__name__,
                "tensors": len(layers.intersection(wanted)),
                "given": len(given),
                "example": next(iter(given)),
            }
            self._given[id(part)] = part, told
        # A parameter without elements is a place that is kept for what the weights bring.
        unlike = [
            name for name, (_, shape) in wanted.items() if name in given and given[name][1] != shape and 0 not in shape
        ]
        if unlike and len(self._noted) < _MAX_PARTS:
            first = unlike[0]
            told = {
                "class_name": type(part).__name__,
                "tensors": len(unlike),
                "matched": tensors.differences(wanted, given)["matched"],
                "example": first,
                "expected": wanted[first][1],
                "received": given[first][1],
            }
            self._noted.append((part, told))

    def report(self, model: Any, send: Callable[..., None]) -> None:
        """Send the parts that the loaded ``model`` holds, under the names by which it does, and forget them."""
        noted, self._noted = self._noted, []
        unfilled, self._given = [entry for entry in self._given.values() if entry[1] is not None], {}
        if not noted and not unfilled:
            return
        places: Dict[int, str] = {id(module): name for name, module in model.named_modules()}
        for name, entries in (("unfit_parts", noted), ("unfilled_parts", unfilled[:_MAX_PARTS])):
            parts = [{"part": "model.%s" % places[id(part)], **told} for part, told in entries if places.get(id(part))]
            if parts:
                send(name, parts=parts)
