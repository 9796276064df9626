"""Which config values size which tensors, as far as the source of a family shows it plainly.

``self.embed = nn.Embedding(config.vocab_size, config.dim)`` in the model that the config was
followed into says what axes the tensor ``embed.weight`` has; ``self.layers = [Layer(config) for _
in range(config.depth)]`` how many layers there are. Products and sums are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.config_values import Instance, Section

if TYPE_CHECKING:
    from mlx_diagnose.collectors.config_flow import Flow
    from mlx_diagnose.collectors.function_evaluation import Body

#: Arguments of layers of ``mlx.nn`` in their order, each with the axis of ``weight`` that it sizes.
#: Of convolutions the others stand in another order before ``sanitize``.
_LAYERS: dict[str, tuple[tuple[str, int | None], ...]] = {
    "Linear": (("input_dims", 1), ("output_dims", 0)),
    "Embedding": (("num_embeddings", 0), ("dims", 1)),
    "LayerNorm": (("dims", 0),),
    "RMSNorm": (("dims", 0),),
    "Conv1d": (("in_channels", None), ("out_channels", 0)),
    "Conv2d": (("in_channels", None), ("out_channels", 0)),
}
_MAX_DEPTH = 12
_MAX_SIZES = 2_000


@dataclass(frozen=True, slots=True)
class Size:
    """``paths`` is what sizes ``axis`` of ``tensor``, or (None) how many ``tensor`` there are.

    ``tensor`` is dotted, with ``*`` for the number of a layer.
    """

    tensor: str
    axis: int | None
    paths: tuple[str, ...]


def made(body: Body, target: ast.expr, source: ast.expr) -> None:
    """Note what an assignment ``self.name = ...`` makes: a layer of ``mlx.nn``, or a list of some length."""
    if not isinstance(target, ast.Attribute) or body.flow.aside or not body.flow.sure:
        return
    owner = body.value(target.value)
    if not isinstance(owner, Instance) or owner.cls.is_config or target.attr.startswith("_"):
        return
    found: dict[int | None, tuple[str, ...]] = {}
    if isinstance(source, ast.Call):
        found = _axes(body, source)
    elif isinstance(source, ast.ListComp) and len(source.generators) == 1 and not source.generators[0].ifs:
        times = source.generators[0].iter
        if isinstance(times, ast.Call) and ast.unparse(times.func) == "range" and len(times.args) == 1:
            count = body.value(times.args[0])
            if isinstance(count, Section) and count.paths and count.paths[0]:
                found = {None: count.paths}
        item = body.repeated(source)
        if isinstance(item, Instance):
            owner.fields[target.attr] = item
            body.flow.lists.add((id(owner), target.attr))
    if found:
        body.flow.layers.setdefault(id(owner), {})[target.attr] = found


def _axes(body: Body, call: ast.Call) -> dict[int | None, tuple[str, ...]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    parameters = _LAYERS.get(name)
    if parameters is None or body.target(call.func)[0] is not None:
        return {}  # a class of the family's own may have that name
    given = dict(zip((parameter for parameter, _ in parameters), call.args, strict=False))
    given.update({keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None})
    found: dict[int | None, tuple[str, ...]] = {}
    for parameter, axis in parameters:
        argument = given.get(parameter)
        value = body.value(argument)
        if isinstance(argument, ast.Name) and argument.id in body.reckoned:
            continue
        if axis is not None and isinstance(value, Section) and value.paths and value.paths[0]:
            found[axis] = value.paths
    return found


def sizes(flow: Flow) -> Iterator[Size]:
    """Every size in the model that was followed, the outermost first."""
    if flow.model is None:
        return
    queue: list[tuple[Instance, str, int]] = [(flow.model, "", 0)]
    count = 0
    while queue:
        instance, prefix, depth = queue.pop(0)
        for attribute, axes in flow.layers.get(id(instance), {}).items():
            for axis, paths in axes.items():
                count += 1
                if count > _MAX_SIZES:
                    return
                tensor = f"{prefix}{attribute}" if axis is None else f"{prefix}{attribute}.weight"
                yield Size(tensor, axis, paths)
        for attribute, value in instance.fields.items():
            if isinstance(value, Instance) and not value.cls.is_config and depth < _MAX_DEPTH:
                listed = ".*" if (id(instance), attribute) in flow.lists else ""
                queue.append((value, f"{prefix}{attribute}{listed}.", depth + 1))
