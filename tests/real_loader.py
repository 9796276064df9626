"""The real loader, unwrapped: ``python tests/real_loader.py PATH ...`` loads each lazily and strictly.

One JSON line a path: ``{"path", "exception", "stage"}``, both null when it loads. The stage is read
off the traceback alone: the line of ``base_load_model`` that was running, and for the resolution
of the family whether its module's own code was. Nothing of diagnose takes part.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

#: Text of the statement in ``mlx_audio/utils.py::base_load_model`` that runs, and its stage.
STATEMENTS = (
    ("get_model_path(", "resolve"),
    ("get_model_name_parts(", "resolve"),
    ("load_config(", "config"),
    ("model_type_from_config(", "architecture"),
    ("get_model_class(", "architecture"),
    ("prepare_model_path(", "construct"),
    (".from_dict(", "construct"),
    (".Model(", "construct"),
    ("= load_weights(", "weights"),
    (".sanitize(", "sanitize"),
    ("apply_quantization(", "quantize"),
    (".load_weights(", "load"),
    (".post_load_hook(", "post_load"),
)


def stage_of(error: BaseException) -> str:
    """The stage that ``error`` left."""
    frames = traceback.extract_tb(error.__traceback__)
    chain, current = [], error
    while current is not None:
        chain.extend(traceback.extract_tb(current.__traceback__))
        current = current.__cause__ or current.__context__  # type: ignore[assignment]
    for frame in frames:
        if frame.name != "base_load_model":
            continue
        with open(frame.filename, encoding="utf-8") as file:
            text = "".join(file.readlines()[frame.lineno - 1 : (frame.end_lineno or frame.lineno)])
        for words, stage in STATEMENTS:
            if words in text:
                imported = any(f"{os.sep}models{os.sep}" in deeper.filename for deeper in chain)
                return "import" if stage == "architecture" and imported else stage
        return f"unknown: {text.strip()}"
    return "import"


def main(paths: list[str]) -> None:
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # mlx-audio prints while it loads
    from mlx_audio.tts.utils import load_model

    for path in paths:
        outcome: dict[str, str | None] = {"path": path, "exception": None, "stage": None}
        try:
            load_model(path, lazy=True, strict=True)  # type: ignore[arg-type]
        except BaseException as error:
            outcome |= {"exception": type(error).__name__, "stage": stage_of(error)}
        print(json.dumps(outcome), file=report, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
