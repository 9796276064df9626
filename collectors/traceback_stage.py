"""Which stage of the loader a pasted traceback left, and which ones it proves to have passed.

Told by the loader's own line in the traceback (its releases are alike in the words of their
statements), else by the functions that were running, else by what the message says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.origins import origin_of
from mlx_diagnose.engine.model import STAGES

#: Words of a statement of a load function and its stage, in mlx-audio 0.0.4 to 0.6.2.
_STATEMENTS = (
    ("get_model_path(", "resolve"),
    ("get_model_name_parts(", "resolve"),
    ("model_path.parts", "resolve"),
    ("Invalid model path type", "resolve"),
    ("snapshot_download(", "resolve"),
    ("load_config(", "config"),
    ("model_type_from_config(", "architecture"),
    ("get_model_class(", "architecture"),
    ("get_model_and_args(", "architecture"),
    ("get_model_category(", "architecture"),
    ("Could not determine model type", "architecture"),
    ("prepare_model_path(", "construct"),
    (".from_dict(", "construct"),
    (".Model(", "construct"),
    ("ModelConfig(", "construct"),
    ("= load_weights(", "weights"),
    ("glob.glob(", "weights"),
    ("mx.load(", "weights"),
    ("raise FileNotFoundError(", "weights"),
    (".sanitize(", "sanitize"),
    ("apply_quantization(", "quantize"),
    ("nn.quantize(", "quantize"),
    (".load_weights(", "load"),
    ("mx.eval(model.parameters", "load"),
    (".post_load_hook(", "post_load"),
)
#: Functions of the loader, and of the families, that belong to one stage.
_OF_LOADER: Mapping[str, str] = {
    "get_model_path": "resolve",
    "load_config": "config",
    "get_model_class": "architecture",
    "get_model_and_args": "architecture",
    "get_model_category": "architecture",
    "load_weights": "weights",
    "apply_quantization": "quantize",
    "<module>": "import",
}
_OF_FAMILY: Mapping[str, str] = {
    "<module>": "import",
    "from_dict": "construct",
    "__init__": "construct",
    "__post_init__": "construct",
    "sanitize": "sanitize",
    "load_weights": "load",
    "post_load_hook": "post_load",
}
_STATES = frozenset({"base_load_model", "load_model", "from_pretrained", "load"})
_LOADER_FILE = re.compile(r"(?:(?:tts|stt|sts|vad|lid|codec|music)/)?utils\.py")

#: Messages that belong to one stage wherever they come from: (types, words, stage).
_MESSAGES: tuple[tuple[frozenset[str], re.Pattern[str], str], ...] = tuple(
    (frozenset(types.split()), re.compile(words), stage)
    for types, words, stage in (
        ("ValueError", r"^Model type .* not supported|Could not determine model type", "architecture"),
        ("KeyError", r"^'model_type'$", "architecture"),
        ("ModuleNotFoundError", r"mlx_audio\.\w+\.models\.[\w.]+'?$", "architecture"),
        ("ImportError ModuleNotFoundError", r"", "import"),
        ("ValueError", r"^numpy\.\w+ size changed", "import"),
        ("AttributeError", r"'str' object has no attribute '__module__'|^(?:partially initialized )?module ", "import"),
        ("RuntimeError", r"^\[metal_kernel\]", "import"),
        (
            "ValueError",
            r"^(?:Received (?:\d+ )?parameters not in|Missing (?:\d+ )?parameters|Expected shape \()",
            "load",
        ),
        ("RuntimeError", r"^\[(?:load|load_safetensors|load_npz|load_gguf|read)\]|^\[json\.exception", "weights"),
        ("FileNotFoundError", r"No (?:weight files|safetensors)", "weights"),
        ("FileNotFoundError", r"^Config not found at", "config"),
        ("JSONDecodeError", r"", "config"),
        ("TypeError", r"__init__\(\) (?:missing|got an unexpected)", "construct"),
        ("HFValidationError", r"", "resolve"),
        ("FileNotFoundError", r"^Local path not found", "resolve"),
        ("ValueError", r"tuple\.index\(x\)", "resolve"),
    )
)

#: What the loader does for every model, in its order; sanitize and quantize are done only for some.
_ALWAYS = ("resolve", "config", "architecture", "import", "construct", "weights", "load", "post_load")
#: The load functions before 0.3.0 read the weights before they look for the family.
_WEIGHTS_FIRST = ("resolve", "config", "weights", "architecture", "import", "construct", "load", "post_load")


def stage_of(chain: Sequence[ExceptionDoc]) -> str | None:
    """The stage that the exception left, None where the text does not tell.

    What fails once the model is loaded (a frame of a family's own method, without a load
    function above it) counts as ``post_load``.
    """
    if not chain:
        return None
    stage = _of_frames(chain[0].frames) or _of_message(chain)
    if stage == "architecture" and _imported(chain):
        return "import"
    return stage


def passed_before(chain: Sequence[ExceptionDoc], stage: str | None) -> frozenset[str]:
    """Stages that must have passed, since the load function came to the statement of ``stage``."""
    order = _order(chain[0].frames) if chain and stage is not None else None
    if order is None or stage not in STAGES:
        return frozenset()
    if stage in order:
        return frozenset(order[: order.index(stage)])
    return frozenset(order[: order.index("load")])  # sanitize, quantize


def _of_frames(frames: Sequence[Frame]) -> str | None:
    imports, loading = None, False
    for frame in frames:
        origin = origin_of(frame.file)
        inside = origin.inside or ""
        statement = _statement(frame) if origin.inside and frame.function in _STATES else None
        if statement is not None:
            return statement
        if _LOADER_FILE.fullmatch(inside):
            stage = _OF_LOADER.get(frame.function)
            if stage is not None:
                return stage
            loading = loading or frame.function in _STATES
        elif origin.is_model_code:
            stage = _OF_FAMILY.get(frame.function)
            if stage is not None:
                return stage
            if frame.function in _STATES:
                loading = True
            elif not loading:
                return "post_load"
        elif inside and frame.function == "<module>":
            imports = "import"
        elif origin.package == "mlx" and frame.function == "load_weights":
            return "load"
    return imports


def _statement(frame: Frame) -> str | None:
    return next((stage for words, stage in _STATEMENTS if words in frame.source), None)


def _of_message(chain: Iterable[ExceptionDoc]) -> str | None:
    for document in chain:
        for types, words, stage in _MESSAGES:
            if document.type in types and words.search(document.message[:2000].strip()):
                return stage
    return None


def _imported(chain: Iterable[ExceptionDoc]) -> bool:
    """Code of the family itself was running, or what it imports is named as missing."""
    return any(
        "Missing dependency while loading" in document.message
        or any(frame.function == "<module>" and origin_of(frame.file).is_model_code for frame in document.frames)
        for document in chain
    )


def _order(frames: Iterable[Frame]) -> tuple[str, ...] | None:
    for frame in frames:
        inside = origin_of(frame.file).inside or ""
        if not _LOADER_FILE.fullmatch(inside) or _statement(frame) is None:
            continue
        if frame.function == "base_load_model":
            return _ALWAYS
        if frame.function == "load_model":
            # mlx_audio/utils.py::load_model only looks for the category, and for that reads the config.
            return _WEIGHTS_FIRST if "/" in inside else ("resolve", "config", "architecture")
    return None
