"""What a freshly built model holds in parameters that the checkpoint lacks, if that is the same in every build.

The patient's own loader builds the model twice, with other random numbers: also where its code
sets a seed of its own. What is equal, byte by byte, was computed and not drawn.
"""

from __future__ import annotations

import base64
from typing import Any, Callable, Dict, List, Optional

from mlx_diagnose.collectors.probes import patching
from mlx_diagnose.collectors.probes.channel import Channel

#: Elements of a buffer that is looked at, at most.
MAX_ELEMENTS = 1 << 16
_SEEDS = (1, 2)


def serve(loader: Any, channel: Channel, request: Dict[str, Any]) -> None:
    """Load the directory ``load``, which fails for want of the tensors ``names``, and send ``buffers``.

    ``{"buffers": {name: {"dtype", "shape", "data": base64, "constant", "trainable"}}}``, of what is equal.
    """
    builds: List[Dict[str, Dict[str, Any]]] = []
    for offset in _SEEDS:
        with patching.Patches() as patches:
            _reseed(patches, offset)
            loader.run(request["load"], ghost=request.get("ghost", False))
        model = loader.seen.get("model")
        builds.append(_values(model, request["names"]) if model is not None else {})
    first, second = builds
    channel.send("buffers", buffers={name: value for name, value in first.items() if second.get(name) == value})


def _reseed(patches: patching.Patches, offset: int) -> None:
    import mlx.core as mx
    import numpy

    def moved(function: Callable[..., Any]) -> Callable[..., Any]:
        def seed(value: Optional[int] = None, *args: Any, **kwargs: Any) -> Any:
            return function(value + offset if isinstance(value, int) else value, *args, **kwargs)

        return seed

    mx.random.seed(offset)
    numpy.random.seed(offset)
    for owner in (mx.random, numpy.random):
        patches.wrap(owner, "seed", moved)


def _values(model: Any, names: List[str]) -> Dict[str, Dict[str, Any]]:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    flat: Any = tree_flatten(model.parameters())
    trainable: Any = tree_flatten(model.trainable_parameters())
    learnt = {name for name, _ in trainable}
    wanted = set(names)
    found: Dict[str, Dict[str, Any]] = {}
    for name, array in flat:
        if name not in wanted or array.size > MAX_ELEMENTS:
            continue
        dtype = str(array.dtype).rsplit(".", 1)[-1]
        row = array.reshape(-1)
        data = bytes(memoryview(row.view(mx.uint8) if dtype not in ("bool", "bool_") else row.astype(mx.uint8)))
        item = len(data) // array.size if array.size else 0
        found[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data": base64.b64encode(data).decode("ascii"),
            "constant": bool(data) and data == data[:item] * array.size,
            "trainable": name in learnt,
        }
    return found
