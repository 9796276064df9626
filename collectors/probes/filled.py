"""What a model's own ``load_weights`` filled, told by the arrays that lie in the model afterwards.

MLX's method is given parameters by their names and can be compared with them. One of a family's own
may hand the arrays to a part of the model (``mlx_audio/sts/models/mossformer2_se/model.py``) or give
them other names and shapes first (``mlx_audio/sts/models/deepfilternet/weight_loader.py``).
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Tuple

from mlx_diagnose.collectors.probes import tensors


class Filling:
    """A model before it is filled; :meth:`difference` compares when it is."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._before = _arrays(model)
        self._layers = tensors.in_layers(model)
        self._kinds = {str(place): type(module) for place, module in model.named_modules()}

    def difference(self, pairs: Iterable[Tuple[str, Any]]) -> Tuple[tensors.Table, tensors.Table]:
        """What the model wanted, and what it was given of the named arrays ``pairs``: by names in the part filled.

        Constants that the family computes need not be given: only what layers of MLX have, and what modules
        of one class were given elsewhere. Arrays that went nowhere are unexpected
        where all that were taken were taken as they are.
        """
        given = list(pairs)
        after = _arrays(self._model)
        taken = {name: array for name, array in after.items() if array is not self._before.get(name)}
        place, names = _place(taken, given)
        learned = {self._kind(name) for name in taken}
        wanted = {
            name: array
            for name, array in self._before.items()
            if name in taken or name in self._layers or self._kind(name) in learned
        }
        result = tensors.within(place, tensors.table(taken.items()))
        known = {id(array) for _, array in given}
        if all(id(array) in known for array in taken.values()):
            result.update(tensors.table((name, array) for name, array in given if id(array) not in names))
        return tensors.within(place, tensors.table(wanted.items())), result

    def _kind(self, name: str) -> Tuple[Any, str]:
        """The class of the module that has the parameter ``name``, and what it calls it."""
        owner, _, leaf = name.rpartition(".")
        return self._kinds.get(owner), leaf


def _arrays(model: Any) -> Dict[str, Any]:
    from mlx.utils import tree_flatten

    flat: Any = tree_flatten(model.parameters())
    return {str(name): array for name, array in flat}


def _place(taken: Dict[str, Any], given: List[Tuple[str, Any]]) -> Tuple[str, Dict[int, str]]:
    """The part of the model that has the arrays under their own names, empty for the model; where each array is."""
    places = {id(array): name for name, array in taken.items()}
    found = {
        places[id(array)][: -len(name) - 1] if places[id(array)] != name else ""
        for name, array in given
        if places.get(id(array), "") == name or places.get(id(array), "").endswith("." + name)
    }
    return (found.pop() if len(found) == 1 else ""), places
