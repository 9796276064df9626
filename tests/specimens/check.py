"""Load model directories with the real loader: ``python -m tests.specimens.check PATH ...``.

One JSON line a path: ``{"path", "exception", "message", "traceback"}``, exception null when it loaded.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path


def main(paths: list[str]) -> None:
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # mlx-audio prints while it loads
    from mlx_audio.tts.utils import load_model

    for path in paths:
        result: dict[str, str | None] = {"path": path, "exception": None, "message": None, "traceback": None}
        try:
            load_model(Path(path), lazy=True, strict=True)
        except BaseException as error:
            result |= {"exception": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        print(json.dumps(result), file=report, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
