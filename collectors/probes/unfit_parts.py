"""Parts that a family fills by itself, not strictly, with tensors of other shapes than theirs.

``Module.load_weights(..., strict=False)`` compares no shapes, so a codec whose config and weights disagree is
loaded without a word and fails, or gives noise, where it is used.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from mlx_diagnose.collectors.probes import tensors

_MAX_PARTS = 8


class UnfitParts:
    """Notes of parts and what they were given, taken before the weights are in."""

    def __init__(self) -> None:
        self._noted: List[Any] = []

    def note(self, part: Any, weights: Any) -> None:
        """Compare the shapes of ``part`` with those of ``weights``, pairs of name and array."""
        wanted, given = tensors.parameters(part), tensors.table(weights)
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
        if not noted:
            return
        places: Dict[int, str] = {id(module): name for name, module in model.named_modules()}
        parts = [{"part": "model.%s" % places[id(part)], **told} for part, told in noted if places.get(id(part))]
        if parts:
            send("unfit_parts", parts=parts)
