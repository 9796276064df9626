"""Tries changes of config and weights together: what stands already, and one more change on top of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from mlx_diagnose.adapters import mended_weights
from mlx_diagnose.adapters import shims as loader_shims
from mlx_diagnose.adapters.safetensors_file import UnwritableError
from mlx_diagnose.adapters.tensor_recipe import Recipe, stored
from mlx_diagnose.adapters.weight_map import plan
from mlx_diagnose.adapters.weight_operations import WeightMapError
from mlx_diagnose.adapters.weights_rewriter import rewrite
from mlx_diagnose.collectors.checkpoint import Checkpoint
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.trials import Outcome, Shim, Trials, Weights

Operations: TypeAlias = Sequence[Mapping[str, Any]]

#: Bytes of weights up to which a trial rewrites them: at a few hundred MB a second about as long as a trial may
#: take, and in a temporary folder that is often held in memory. All trials of a diagnosis take four times that.
MAX_REWRITTEN = 1_000_000_000
MAX_REWRITTEN_IN_ALL = 4 * MAX_REWRITTEN


def with_sources(names: Iterable[str]) -> tuple[Shim, ...]:
    """Loader shims as they are sent to the patient."""
    return tuple((name, loader_shims.source(name)) for name in names)


def rewrite_into(original: Path, copy: Path, operations: Operations) -> int:
    """Write the weights of ``original``, changed by ``operations``, into ``copy``; returns the bytes written.

    Raises WeightMapError where that is not possible.
    """
    try:
        made = mended_weights.plan(original, operations)
        for name, recipes in made.files.items():
            (copy / name).unlink(missing_ok=True)
            if recipes:
                rewrite(copy / name, recipes, made.sources[original / name].metadata, made.sources)
    except (UnwritableError, OSError) as error:
        raise WeightMapError(f"the weights cannot be rewritten: {error}") from None
    return made.bytes


class Bench:
    """Trials on a checkpoint. ``standing`` are the operations on its tensors that every trial begins with."""

    def __init__(self, trials: Trials, checkpoint: Checkpoint | None) -> None:
        self.trials = trials
        self._checkpoint = checkpoint
        self.standing: tuple[Mapping[str, Any], ...] = ()
        self._made: dict[str, Weights] = {}
        self._loaded: dict[str, Outcome | None] = {}
        self._bytes_left = MAX_REWRITTEN_IN_ALL

    def run(
        self,
        config: Mapping[str, Any],
        operations: Operations = (),
        shims: Sequence[str] = (),
        copies: Mapping[str, str] | None = None,
    ) -> Outcome | None:
        """Load with ``config``, and with ``operations``, ``shims`` and ``copies`` (files from elsewhere) on top of what
        stands; None when time is spent.

        Where the model's code reads values of the changed weights, they are really rewritten, if that is possible.
        Raises WeightMapError for operations that do not fit the checkpoint.
        """
        operations = (*self.standing, *operations)
        weights = self._weights(operations)
        outcome = self.trials.run(config, weights, with_sources(shims), copies)
        if outcome is None or outcome.run.value_read is None or not weights:
            return outcome
        return self._rewritten(config, operations, shims, {**self.trials.copies, **(copies or {})}) or outcome

    def _rewritten(
        self, config: Mapping[str, Any], operations: Operations, shims: Sequence[str], copies: Mapping[str, str]
    ) -> Outcome | None:
        """The load of a copy whose weights are rewritten as they would be by ``--fix``; None where none is made."""
        if self.why_not_rewritten is not None:
            return None
        key = json.dumps([config, list(operations), list(shims), dict(copies)], sort_keys=True, default=list)
        if key not in self._loaded:
            assert self._checkpoint is not None
            weights = self._weights(tuple(operations)) or {}
            directory = self.trials.overlays.with_config(config, weights, copies)
            self._bytes_left -= rewrite_into(self._checkpoint.directory, directory, operations)
            sources = (*self.trials.shims, *with_sources(name for name in shims if name not in self.shims))
            outcome = self.trials.load(directory, sources, ghost=False)
            self._loaded[key] = replace(outcome, rewritten=True) if outcome is not None else None
        return self._loaded[key]

    @property
    def why_not_rewritten(self) -> str | None:
        """Why the weights are not rewritten for a trial, None if they are."""
        checkpoint = self._checkpoint
        if checkpoint is None or self.trials.ghost:
            return "they are not on this machine"
        size = sum(file.size or 0 for file in checkpoint.files if file.file in checkpoint.read_by_loader)
        if size > MAX_REWRITTEN:
            return f"{size / 1e9:.1f} GB are more than the {MAX_REWRITTEN / 1e9:.0f} GB that are rewritten for a trial"
        if size > min(self._bytes_left, shutil.disk_usage(tempfile.gettempdir()).free / 2):
            return "there is no room or no time left to rewrite them for a trial"
        return None

    def whole(
        self, config: Mapping[str, Any], operations: Operations, shims: Sequence[str], copies: Mapping[str, str]
    ) -> Outcome | None:
        """Load the original with what is given and nothing else, as :meth:`run`."""
        trials = self.trials
        standing = self.standing, trials.standing, trials.shims, trials.copies
        self.standing, trials.standing, trials.shims, trials.copies = (), {}, (), {}
        try:
            return self.run(config, operations, shims, copies)
        finally:
            self.standing, trials.standing, trials.shims, trials.copies = standing

    @property
    def ghost(self) -> bool:
        """The values of the checkpoint are not there: only its headers are."""
        return self.trials.ghost

    @property
    def shims(self) -> tuple[str, ...]:
        """Names of the shims that stand."""
        return tuple(name for name, _ in self.trials.shims)

    def stand(self, operations: Operations, shims: Sequence[str], copies: Mapping[str, str]) -> None:
        """From here on every trial begins with ``operations``, ``shims`` and ``copies`` as well."""
        self.trials.copies = {**self.trials.copies, **copies}
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
