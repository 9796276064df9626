"""Tries changes of config and weights together: what stands already, and one more change on top of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from mlx_diagnose.adapters import shims as loader_shims
from mlx_diagnose.adapters.tensor_recipe import Recipe, stored
from mlx_diagnose.adapters.weight_map import plan
from mlx_diagnose.adapters.weight_operations import WeightMapError
from mlx_diagnose.collectors.checkpoint import Checkpoint
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.trials import Outcome, Shim, Trials, Weights

Operations: TypeAlias = Sequence[Mapping[str, Any]]


def with_sources(names: Iterable[str]) -> tuple[Shim, ...]:
    """Loader shims as they are sent to the patient."""
    return tuple((name, loader_shims.source(name)) for name in names)


class Bench:
    """Trials on a checkpoint. ``standing`` are the operations on its tensors that every trial begins with."""

    def __init__(self, trials: Trials, checkpoint: Checkpoint | None) -> None:
        self.trials = trials
        self._checkpoint = checkpoint
        self.standing: tuple[Mapping[str, Any], ...] = ()
        self._made: dict[str, Weights] = {}

    def run(self, config: Mapping[str, Any], operations: Operations = (), shims: Sequence[str] = ()) -> Outcome | None:
        """Load with ``config``, and with ``operations`` and ``shims`` on top of what stands; None when time is spent.

        Raises WeightMapError for operations that do not fit the checkpoint.
        """
        weights = self._weights((*self.standing, *operations))
        return self.trials.run(config, weights, with_sources(shims))

    def whole(self, config: Mapping[str, Any], operations: Operations, shims: Sequence[str]) -> Outcome | None:
        """Load the original with ``config``, ``operations`` and ``shims`` and nothing else, as :meth:`run`."""
        standing, self.trials.shims = self.trials.shims, ()
        try:
            return self.trials.run(config, self._weights(tuple(operations)) or {}, with_sources(shims))
        finally:
            self.trials.shims = standing

    @property
    def shims(self) -> tuple[str, ...]:
        """Names of the shims that stand."""
        return tuple(name for name, _ in self.trials.shims)

    def stand(self, operations: Operations, shims: Sequence[str]) -> None:
        """From here on every trial begins with ``operations`` and ``shims`` as well."""
        self.standing = (*self.standing, *operations)
        self.trials.standing = self._weights(self.standing)
        self.trials.shims = with_sources(dict.fromkeys((*self.shims, *shims)))

    def _weights(self, operations: Operations) -> Weights | None:
        if not operations:
            return None
        key = json.dumps(operations, sort_keys=True, default=list)
        if key not in self._made:
            self._made[key] = self._mapped(operations)
        return self._made[key]

    def _mapped(self, operations: Operations) -> Weights:
        """The files that change, each with all of its tensors: a tensor stays in the file it was read from."""
        checkpoint = self._checkpoint
        if checkpoint is None or not checkpoint.table:
            raise WeightMapError("there is no checkpoint whose tensors are known")
        files = {file.file: file.format for file in checkpoint.files if file.file in checkpoint.read_by_loader}
        if any(file_format != "safetensors" for file_format in files.values()):
            raise WeightMapError("the weights are not in safetensors files")
        table = {name: (info.dtype, info.shape) for name, info in checkpoint.table.items()}
        made: dict[str, dict[str, TensorInfo]] = {file: {} for file in files}
        for name, recipe in plan(operations, table).items():
            file = self._file_of(recipe) or next(iter(files))
            made[file][name] = TensorInfo(recipe.dtype, recipe.shape, file)
        before: dict[str, list[tuple[str, str, tuple[int, ...]]]] = {file: [] for file in files}
        for name, info in checkpoint.table.items():
            before[str(info.file)].append((name, info.dtype, info.shape))
        return {
            file: tensors
            for file, tensors in made.items()
            if before[file] != [(name, info.dtype, info.shape) for name, info in tensors.items()]
        }

    def _file_of(self, recipe: Recipe) -> str | None:
        assert self._checkpoint is not None
        leaves = stored(recipe)
        return self._checkpoint.table[leaves[0].name].file if leaves else None
