"""Prints what rewriting a checkpoint costs beside copying it: ``python tests/benchmarks/rewriting.py [--rounds N]``.

Both commands write the same number of bytes to the same disk, make them durable, and run by turns.
Peak memory is the kernel's count of the whole process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlx_diagnose.engine.specimen import Body, Tensor, byte_size, write_safetensors
from tests.benchmarks.processes import Comparison, compare

ROOT = Path(__file__).parents[2]
_HEAD = "import json, os, shutil, sys; from pathlib import Path; model, out = map(Path, sys.argv[1:3]); "
_COPY = _HEAD + (
    "shutil.rmtree(out, ignore_errors=True); out.mkdir(); file = out / 'model.safetensors'; "
    "shutil.copyfile(model / 'model.safetensors', file); handle = os.open(file, os.O_RDWR); os.fsync(handle)"
)
_REWRITE = _HEAD + (
    "sys.path.insert(0, sys.argv[3]); shutil.rmtree(out, ignore_errors=True); "
    "from mlx_diagnose.adapters.mend import Mend; "
    "from mlx_diagnose.adapters.model_directory import write_directory; "
    "write_directory(model, out, Mend(weight_map=tuple(json.loads(sys.argv[4]))), lambda *_: {})"
)
RENAME = [{"op": "rename", "from": "model.{rest}", "to": "{rest}"}]
TRANSPOSE = [*RENAME, {"op": "transpose", "name": "layers.{i}.conv.weight", "axes": [0, 2, 1]}]


@dataclass(frozen=True)
class Case:
    """A checkpoint of ``layers`` layers of 34 MB, and what is done to it."""

    name: str
    layers: int
    body: Body
    operations: list[dict[str, object]]


CASES = (
    Case("names change, 1 GB", 30, "random", RENAME),
    Case("names and the layout of convolutions change, 1 GB", 30, "random", TRANSPOSE),
    Case("names change, 10 GB, a hole", 294, "hole", RENAME),
)


def tensors(layers: int) -> dict[str, Tensor]:
    """Names, types and shapes of a checkpoint: a matrix, a convolution and a norm a layer."""
    made: dict[str, Tensor] = {}
    for number in range(layers):
        made[f"model.layers.{number}.mlp.weight"] = ("BF16", (4096, 3840))
        made[f"model.layers.{number}.conv.weight"] = ("BF16", (512, 512, 5))
        made[f"model.layers.{number}.norm.weight"] = ("BF16", (4096,))
    return made


def measure(case: Case, directory: Path, rounds: int) -> tuple[int, Comparison]:
    """Bytes of the checkpoint, and the costs of rewriting and of copying it."""
    model, out = directory / "model", directory / "out"
    model.mkdir()
    table = tensors(case.layers)
    write_safetensors(model / "model.safetensors", table, body=case.body)

    ours = (sys.executable, "-c", _REWRITE, str(model), str(out), str(ROOT), json.dumps(case.operations))
    theirs = (sys.executable, "-c", _COPY, str(model), str(directory / "copy"))
    return sum(map(byte_size, table.values())), compare(ours, theirs, rounds=rounds)


def rows(rounds: int) -> Iterator[str]:
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            size, both = measure(case, Path(directory), rounds)
        speeds = [size / statistics.median(cost.seconds for cost in costs) / 1e9 for costs in (both.ours, both.theirs)]
        peak = max(cost.peak for cost in both.ours) / 1e6
        yield (
            f"| {case.name} | {1 / both.time_ratio:.2f} | {speeds[0]:.2f} GB/s | {speeds[1]:.2f} GB/s | {peak:.0f} MB |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Rewriting beside copying, as a table of Markdown")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| | speed, of copying | rewriting | copying | peak memory of rewriting |")
    print("|---|---|---|---|---|")
    for row in rows(arguments.rounds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
