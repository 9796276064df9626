"""What the real loader makes of model directories: ``python -m tests.specimens.loaded``, jobs as JSON lines.

A job is ``{"path": DIRECTORY}`` and, to load it mended, ``{"to": DIRECTORY, "fixes": [FIX, ...]}`` with fixes of a
report. The answer is a line ``{"digest", "shapes", "exception"}``: digests of the names, types, shapes and
values of all parameters, and of the same without values. Weight maps are carried out here with MLX
itself, by the recipes alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters import shims
from mlx_diagnose.adapters.config_patch import apply_patch
from mlx_diagnose.adapters.tensor_recipe import Cast, Computed, Joined, Part, Recipe, Stored, Transposed, stored
from mlx_diagnose.adapters.weight_map import plan
from mlx_diagnose.collectors.tensors import dtype_name


def mended(source: Path, target: Path, fixes: list[dict[str, Any]]) -> None:
    """Write ``source`` with ``fixes`` in their order as ``target``."""
    import mlx.core as mx

    target.mkdir(parents=True)
    for entry in source.iterdir():
        (target / entry.name).symlink_to(entry)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    operations: list[dict[str, Any]] = []
    for fix in fixes:
        config = apply_patch(config, fix["config_patch"])
        operations += fix["weight_map"]
    (target / "config.json").unlink()
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if not operations:
        return
    arrays: dict[str, Any] = {}
    holders: dict[str, str] = {}
    for file in sorted(source.glob("*.safetensors")):
        loaded = _arrays(file)
        arrays |= loaded
        holders |= dict.fromkeys(loaded, file.name)
        (target / file.name).unlink()
    table = {name: (dtype_name(str(array.dtype)), tuple(array.shape)) for name, array in arrays.items()}
    files: dict[str, dict[str, Any]] = {}
    for name, recipe in plan(operations, table).items():
        read = stored(recipe)
        file = holders[read[0].name] if read else next(iter(holders.values()))
        files.setdefault(file, {})[name] = _made(recipe, arrays)
    for name, tensors in files.items():
        mx.save_safetensors(str(target / name), tensors, {"format": "pt"})


def _arrays(file: Path) -> dict[str, Any]:
    """The tensors of a file; those of types that MLX does not read by NumPy."""
    import mlx.core as mx
    import numpy as np

    try:
        loaded: Any = mx.load(str(file))
        return dict(loaded)
    except RuntimeError:
        data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found: dict[str, Any] = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        kind = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}.get(entry["dtype"])
        kind = kind or np.dtype(dtype_name(entry["dtype"])).type
        first, end = (start + offset for offset in entry["data_offsets"])
        array: Any = np.frombuffer(data[first:end], kind).reshape(entry["shape"])
        found[name] = mx.array(array).view(mx.bfloat16) if entry["dtype"] == "BF16" else array
        if entry["dtype"] not in ("F64", "BF16"):
            found[name] = mx.array(array)
    return found


def _made(recipe: Recipe, arrays: dict[str, Any]) -> Any:
    import mlx.core as mx

    if isinstance(recipe, Stored):
        return arrays[recipe.name]
    if isinstance(recipe, Computed):
        assert recipe.how == "values", recipe
        flat = mx.array(list(recipe.data), dtype=mx.uint8)
        return flat.view(getattr(mx, recipe.dtype)).reshape(recipe.shape)
    if isinstance(recipe, Joined):
        parts = [_made(part, arrays) for part in recipe.parts]
        return mx.stack(parts, recipe.axis) if recipe.stacked else mx.concatenate(parts, recipe.axis)
    assert isinstance(recipe, (Transposed, Cast, Part)), recipe
    of = _made(recipe.of, arrays)
    if isinstance(recipe, Transposed):
        return mx.contiguous(mx.transpose(of, recipe.axes))
    if isinstance(recipe, Cast):
        return mx.array(of).astype(getattr(mx, recipe.dtype))
    return mx.contiguous(mx.take(of, mx.arange(recipe.start, recipe.stop), recipe.axis))


def digests(path: Path) -> tuple[str, str]:
    """Digests of all parameters of the model in ``path``, as its own loader gives them: with values, and without."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_audio.tts.utils import load_model

    model = load_model(path, lazy=True, strict=True)
    total, shapes = hashlib.sha256(), hashlib.sha256()
    flat: Any = tree_flatten(model.parameters())
    for name, array in sorted(flat):
        text = f"{name} {array.dtype} {array.shape}".encode()
        total.update(text)
        shapes.update(text)
        wide = array.view(mx.uint8) if array.size and array.ndim else array.astype(mx.float32)
        total.update(bytes(memoryview(wide)))
    return total.hexdigest(), shapes.hexdigest()


def main() -> None:
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # mlx-audio prints while it loads
    for line in sys.stdin:
        job = json.loads(line)
        answer: dict[str, Any] = {"digest": None, "shapes": None, "exception": None}
        path = Path(job["path"])
        try:
            if job.get("to"):
                mended(path, Path(job["to"]), job["fixes"])
                path = Path(job["to"])
            with ExitStack() as stack:
                for fix in job.get("fixes", ()):
                    if fix["shim"]:
                        space: dict[str, Any] = {}
                        exec(shims.source(fix["shim"]), space)
                        stack.callback(space["install"]())
                answer["digest"], answer["shapes"] = digests(path)
        except Exception as error:
            answer["exception"] = f"{type(error).__name__}: {error}"[:300]
        print(json.dumps(answer), file=report, flush=True)


if __name__ == "__main__":
    main()
