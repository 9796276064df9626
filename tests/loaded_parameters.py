"""What a model holds once the real, unwrapped loader has loaded it: ``python tests/loaded_parameters.py PATH ...``.

One JSON line a path: ``{"path", "error", "parameters"}``; parameters by name as type, shape and
SHA-256 of their bytes. With ``--adapter FILE`` the ``load`` of that file loads it instead, or, for
YAML, that of the run-time library.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parameters(model: Any) -> dict[str, list[object]]:
    import mlx.core as mx
    import numpy as np
    from mlx.utils import tree_flatten

    found: dict[str, list[object]] = {}
    for name, array in tree_flatten(model.parameters()):
        data = np.array(array.view(mx.uint16) if array.dtype == mx.bfloat16 else array).tobytes()
        found[name] = [str(array.dtype), list(array.shape), hashlib.sha256(data).hexdigest()]
    return found


def loader(adapter: str | None) -> Callable[[str], Any]:
    if adapter is None:
        from mlx_audio.tts.utils import load_model

        return lambda path: load_model(path, lazy=True, strict=True)  # type: ignore[arg-type]
    if adapter.endswith(".yaml"):
        from mlx_diagnose.adapters import load

        return lambda path: load(path, Path(adapter), lazy=True)
    spec = importlib.util.spec_from_file_location("adapter_under_test", adapter)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda path: module.load(path, lazy=True)


def main(words: list[str]) -> None:
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # mlx-audio prints while it loads
    adapter = words[1] if words[:1] == ["--adapter"] else None
    load = loader(adapter)
    for path in words[2:] if adapter else words:
        outcome: dict[str, object] = {"path": path, "error": None, "parameters": None}
        try:
            outcome["parameters"] = parameters(load(path))
        except BaseException as error:
            outcome["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(outcome), file=report, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
