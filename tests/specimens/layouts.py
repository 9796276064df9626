"""Inverses of ``sanitize``: from the model's parameters to the checkpoint it is loaded from.

Shapes only. A rule maps one parameter to the tensors that a checkpoint has instead; the first
rule whose pattern is found in the name applies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from mlx_diagnose.engine.specimen import Shape, Tensor
from tests.specimens.recipe import Tensors

Rule: TypeAlias = Callable[[str, Tensor], Tensors | None]


def apply(parameters: Tensors, rules: Sequence[Rule]) -> Tensors:
    """Every parameter through the first rule that takes it; the others as they are."""
    checkpoint: Tensors = {}
    for name, tensor in parameters.items():
        for rule in rules:
            found = rule(name, tensor)
            if found is not None:
                checkpoint.update(found)
                break
        else:
            checkpoint[name] = tensor
    return checkpoint


def permuted(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """``tensor`` with its axes taken in the order ``axes``."""
    dtype, shape = tensor
    return dtype, tuple(shape[axis] for axis in axes)


def conv(pattern: str, axes: Sequence[int] = (0, 2, 1)) -> Rule:
    """Convolutions in PyTorch layout, (out, in, kernel) for MLX's (out, kernel, in); as many axes as ``axes``."""

    def rule(name: str, tensor: Tensor) -> Tensors | None:
        if re.search(pattern, name) and len(tensor[1]) == len(axes):
            return {name: permuted(tensor, axes)}
        return None

    return rule


def renamed(tensors: Tensors, replacements: Iterable[tuple[str, str]]) -> Tensors:
    """Names through regular-expression ``replacements``, one after the other."""
    result: Tensors = {}
    for name, tensor in tensors.items():
        for pattern, replacement in replacements:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    """``prefix`` before every name."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def split(tensor: Tensor, parts: int) -> Tensor:
    """One of ``parts`` equal tensors that lie one after the other on the first axis."""
    dtype, shape = tensor
    return dtype, (shape[0] // parts, *shape[1:])


def weight_norm(name: str, weight: Tensor, gain: Shape | None = None) -> Tensors:
    """``name`` (ending in .weight) as PyTorch's weight_g and weight_v; ``gain`` is (out, 1, 1) unless told."""
    dtype, shape = weight
    return {
        f"{name}_g": (dtype, gain if gain is not None else (shape[0], *(1,) * (len(shape) - 1))),
        f"{name}_v": weight,
    }


def experts_apart(name: str, tensor: Tensor) -> Tensors | None:
    """A rule: experts stacked in ``switch_mlp`` as one tensor an expert, ``experts.0`` and so on."""
    match = re.fullmatch(r"(.*\.mlp)\.switch_mlp\.(.*)", name)
    if match is None:
        return None
    dtype, (count, *shape) = tensor
    return {f"{match[1]}.experts.{number}.{match[2]}": (dtype, tuple(shape)) for number in range(count)}
