"""Work out the tensor tables of specimens with the patient's own classes.

``python -m tests.specimens.generate [FAMILY ...]``, in an environment that has the mlx-audio
whose layout is wanted, from the top of the checkout. Each table is checked by
``tests/test_families.py``: the real loader must accept what is written from it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mlx_diagnose.engine.specimen import Tensor
from tests.specimens import SIZES, Size, configuration, families, recipe, tables, write_directory, write_weights
from tests.specimens.hub import environment
from tests.specimens.recipe import MAIN_FILE, Files, Tensors

_FLOATS = {"F32"}


def tensors_of(module: object, dtype: object = "F32") -> Tensors:
    """Names, types and shapes of a module's parameters; 32-bit floats get the type ``dtype``."""
    from mlx.utils import tree_flatten

    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "uint32": "U32", "int32": "I32", "int64": "I64"}
    result: dict[str, Tensor] = {}
    for name, value in tree_flatten(module.parameters()):  # type: ignore[attr-defined]
        kind = names[str(value.dtype).removeprefix("mlx.core.")]
        if kind in _FLOATS:
            kind = str(dtype(name) if callable(dtype) else dtype)
        result[name] = (kind, tuple(value.shape))
    return result


def differences(model: object, module: object, tensors: Tensors) -> dict[str, list[str]]:
    """What a strict load of ``tensors`` into ``module`` would find after ``model.sanitize``.

    Some families load without looking; this does not.
    """
    import mlx.core as mx
    from mlx.utils import tree_flatten

    types = {
        "F32": mx.float32,
        "F16": mx.float16,
        "BF16": mx.bfloat16,
        "U32": mx.uint32,
        "I32": mx.int32,
        "I64": mx.int64,
    }
    weights = {name: mx.broadcast_to(mx.array(0, types[dtype]), shape) for name, (dtype, shape) in tensors.items()}
    if hasattr(model, "sanitize"):
        weights = model.sanitize(weights)
    wanted = {name: value.shape for name, value in tree_flatten(module.parameters())}  # type: ignore[attr-defined]
    return {
        "missing": sorted(wanted.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - wanted.keys()),
        "shape": sorted(name for name in wanted.keys() & weights.keys() if wanted[name] != weights[name].shape),
    }


def work_out(family: str, size: Size, work: Path) -> tuple[Files, Files, Tensors]:
    """A specimen's tensors by weights file, those for the loader and those of parts, and the model's parameters.

    HF_HOME must be ``work / "huggingface"``. Differences are printed: some are meant.
    """
    made = recipe(family)
    config = configuration(family, size)
    path = work / size / made.name
    write_directory(made, config, path, work / "huggingface")
    parts = made.parts(path, config)
    write_weights(path, parts, body="hole")
    patient = importlib.import_module(f"mlx_audio.tts.models.{family}")
    given = {**config, "model_path": str(path)}
    model = patient.Model(patient.ModelConfig.from_dict(given) if hasattr(patient, "ModelConfig") else given)
    parameters = tensors_of(made.module(model), made.dtype)
    files = made.layout(parameters, config)
    loaded = {name: tensor for part in files.values() for name, tensor in part.items()}
    for kind, names in differences(model, made.module(model), loaded).items():
        if names:
            print(f"{family}.{size}: {len(names)} {kind}: {', '.join(names[:8])}")
    return files, parts, parameters


def generate(family: str, work: Path) -> None:
    """Write the tables of ``family``, small and full; HF_HOME must be ``work / "huggingface"``."""
    for repository in recipe(family).companions:
        if repository.table is not None and repository.build is not None:
            tables.write(repository.table, repository.build())
    for size in SIZES:
        files, parts, parameters = work_out(family, size, work)
        tables.write(f"{family}.{size}", {**files, **parts})
        if size == "small" and files and not next(iter(files.values())).items() <= parameters.items():
            tables.write(f"{family}.{size}.mlx", {MAIN_FILE: parameters})


def main(names: list[str]) -> None:
    for name in names or families():
        if recipe(name).fails is not None:
            print(name, "skipped:", recipe(name).fails, flush=True)
            continue
        with tempfile.TemporaryDirectory() as work:
            # A family a process: importing some of them changes the whole process.
            done = subprocess.run(
                [sys.executable, "-m", "tests.specimens.generate", "--one", name, work],
                env={**os.environ, **environment(Path(work) / "huggingface")},
                check=False,
            )
            print(name, "ok" if done.returncode == 0 else "FAILED", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        generate(sys.argv[2], Path(sys.argv[3]))
    else:
        main(sys.argv[1:])
