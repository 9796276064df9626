"""Builds the model of a config and no more: the loader runs until ``Model(config)`` has returned.

Everything up to there is the patient's own loader, unmodified: its config classes, its choice of
a family. On demand the parameters are evaluated, as real arrays one after the other, so that it
takes the time to make all of them and the memory of the largest.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Dict, List

from mlx_diagnose.collectors.probes import failures, patching, stages
from mlx_diagnose.collectors.probes.channel import Channel


def serve(loader: Any, channel: Channel, request: Dict[str, Any]) -> None:
    """Build from the directory ``load``; with ``evaluate``, a number of bytes, evaluate what is not larger.

    Sends what a load sends, and then ``build``: whether it was built, how many tensors of how many
    bytes, whether they were evaluated, and the exceptions if that failed.
    """
    built: List[Any] = []

    def stopping(function: Callable[..., Any]) -> Callable[..., Any]:
        depth = [0]

        @functools.wraps(function)
        def construct(model: Any, *args: Any, **kwargs: Any) -> None:
            depth[0] += 1
            try:
                function(model, *args, **kwargs)
            finally:
                depth[0] -= 1
            if depth[0] == 0:
                built.append(model)
                raise stages.Ended

        return construct

    with patching.Patches() as patches:
        loader.on_family = lambda module: patches.wrap(getattr(module, "Model", None), "__init__", stopping)
        try:
            loader.run(request["load"])
        finally:
            loader.on_family = lambda module: None
    if not built:
        channel.send("build", built=False)
        return
    channel.send("build", built=True, **_measured(built.pop(), request.get("evaluate")))


def _measured(model: Any, budget: Any) -> Dict[str, Any]:
    from mlx.utils import tree_flatten

    flat: Any = tree_flatten(model.parameters())
    arrays = [array for _, array in flat if hasattr(array, "nbytes")]
    size = sum(array.nbytes for array in arrays)
    found: Dict[str, Any] = {"tensors": len(arrays), "bytes": size, "evaluated": None, "seconds": None, "chain": []}
    if budget is None or size > budget:
        return found
    import mlx.core as mx

    # Nothing else may hold an array: each is made, and gone before the next one is.
    del model, flat
    started = time.perf_counter()
    try:
        while arrays:
            mx.eval(arrays.pop())
        found["evaluated"] = True
    except Exception as error:
        found.update(evaluated=False, chain=failures.chain(error, "construct"))
    found["seconds"] = time.perf_counter() - started
    return found
