"""Names, types and shapes of a model's parameters and of a checkpoint's tensors, and their difference."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Set, Tuple

Table = Dict[str, List[Any]]

#: A table larger than this is cut to the differences; it would cost more to send than it tells.
MAX_TENSORS = 200_000


def table(pairs: Iterable[Tuple[str, Any]]) -> Table:
    """``{name: [dtype, shape]}``; what is not an array has no entry."""
    found: Table = {}
    for name, array in pairs:
        shape = getattr(array, "shape", None)
        dtype = getattr(array, "dtype", None)
        if shape is not None and dtype is not None:
            found[str(name)] = [str(dtype).rsplit(".", 1)[-1], [int(size) for size in shape]]
    return found


def pairs_of(weights: Any) -> Any:
    """The named arrays that ``Module.load_weights`` is given: pairs, or the file that holds them."""
    if not isinstance(weights, str):
        return weights
    import mlx.core as mx

    loaded: Any = mx.load(weights)
    return list(loaded.items())


def parameters(model: Any) -> Table:
    """The parameters of an ``mlx.nn.Module`` as a table."""
    from mlx.utils import tree_flatten

    flat: Any = tree_flatten(model.parameters())
    return table(flat)


def in_layers(model: Any) -> Set[str]:
    """Names of the parameters that belong to layers of ``mlx.nn``, which start random and are learned."""
    found: Set[str] = set()
    for place, module in model.named_modules():
        if type(module).__module__.startswith("mlx.nn."):
            found.update("%s.%s" % (place, name) if place else str(name) for name in module)
    return found


def under(place: str, names: Table) -> Table:
    """``names`` as the parameters of the module at ``place``, which is empty for the whole model."""
    return {"%s.%s" % (place, name): value for name, value in names.items()} if place else dict(names)


def within(place: str, names: Table) -> Table:
    """Those of ``names`` that belong to the module at ``place``, as that module calls them."""
    start = place + "." if place else ""
    return {name[len(start) :]: value for name, value in names.items() if name.startswith(start)}


def differences(model: Table, given: Table) -> Dict[str, int]:
    """Counts of tensors missing, unexpected, of another shape, and matched."""
    missing = sum(1 for name in model if name not in given)
    unexpected = sum(1 for name in given if name not in model)
    shape = sum(1 for name in model if name in given and model[name][1] != given[name][1])
    return {"missing": missing, "unexpected": unexpected, "shape": shape, "matched": len(model) - missing - shape}


def trimmed(model: Table, given: Table) -> Tuple[Table, Table]:
    """Both tables, without what fits where they are too large to send whole."""
    if len(model) + len(given) <= MAX_TENSORS:
        return model, given
    fits = {name for name in model if name in given and model[name][1] == given[name][1]}
    return (
        {name: value for name, value in model.items() if name not in fits},
        {name: value for name, value in given.items() if name not in fits},
    )
