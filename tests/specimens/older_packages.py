"""The installed mlx-audio with functions as an older release has them, in our own words: its defects are real there.

``older(tmp_path, "remapping-ignored")`` makes a folder for PYTHONPATH; everything but the functions said is a
link to what is installed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.collectors.package_copy import copy_package, package_folder


@dataclass(frozen=True)
class Older:
    """The release that it is taken for, the file, and in it functions (``Class.method``) by name."""

    version: str
    file: str
    functions: Mapping[str, str]


OLDER = {
    "remapping-ignored": Older(
        "0.5.9",
        "mlx_audio/utils.py",
        {
            "get_model_class": """\
def get_model_class(model_type, model_name, category, model_remapping):
    model_type_mapped = model_remapping.get(model_type, None)
    known = [item.name for item in (Path(__file__).parent / category / "models").iterdir()]
    if model_name is not None and model_type_mapped != model_type:
        for part in model_name:
            if part in known:
                model_type = part
            if part in model_remapping:
                model_type = model_remapping[part]
                break
    elif model_type_mapped is not None:
        model_type = model_type_mapped
    try:
        arch = importlib.import_module(f"mlx_audio.{category}.models.{model_type}")
    except ImportError:
        raise ValueError(f"Model type {model_type} not supported for {category}.")
    return arch, model_type
"""
        },
    ),
    "module-names": Older(
        "0.4.3",
        "mlx_audio/utils.py",
        {
            "is_valid_module_name": """\
def is_valid_module_name(name: str) -> bool:
    if not name or not isinstance(name, str):
        return False
    return name[0].isalpha() or name[0] == "_"
""",
            "_has_model_module": """\
def _has_model_module(module_path):
    return importlib.util.find_spec(module_path) is not None
""",
        },
    ),
    "values-read": Older(
        "0.6.2",
        "mlx_audio/tts/models/soprano/soprano.py",
        {
            "Model.sanitize": """\
    def sanitize(self, weights: dict) -> dict:
        sanitized = {}
        for name, array in weights.items():
            name = name.removeprefix("model.")
            if name.startswith("decoder."):
                array = mx.array(array.astype(mx.float32).tolist())
            elif not name.startswith("language_model."):
                name = "language_model." + name
            sanitized[name] = array
        return sanitized
"""
        },
    ),
    "path-as-text": Older(
        "0.6.2",
        "mlx_audio/tts/models/soprano/soprano.py",
        {
            "Model.post_load_hook": """\
    def post_load_hook(self, model_path: Path):
        if model_path.startswith("~"):
            model_path = model_path.expanduser()
        self.tokenizer = AutoTokenizer.from_pretrained(str(model_path))
        return self
"""
        },
    ),
}


def older(folder: Path, name: str) -> Path:
    """The package with the defect ``name``, in ``folder``, with the metadata of its release."""
    made = OLDER[name]
    installed = package_folder(sys.executable)
    assert installed is not None
    copy_package(installed, folder)
    text = (installed / made.file).read_text(encoding="utf-8")
    for function, source in made.functions.items():
        text = _replaced(text, function, source)
    _write(folder / made.file, text)
    _write(folder / "mlx_audio" / "version.py", f'__version__ = "{made.version}"\n')
    metadata = folder / f"mlx_audio-{made.version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: mlx-audio\nVersion: {made.version}\n", encoding="utf-8")
    return folder


def _replaced(text: str, function: str, source: str) -> str:
    """``text`` with ``source`` in the place of a function; the decorators go with the old one."""
    body: list[ast.stmt] = ast.parse(text).body
    for part in function.split("."):
        node = next(each for each in body if isinstance(each, (ast.ClassDef, ast.FunctionDef)) and each.name == part)
        body = node.body
    start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    lines = text.splitlines(keepends=True)
    return "".join([*lines[: start - 1], source, *lines[node.end_lineno :]])


def _write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text, encoding="utf-8")
