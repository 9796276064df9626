# mypy: ignore-errors
"""Loads a model through the unmodified mlx-audio, with config and weights mended on the way."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path


def set_variables(variables):
    """Set variables of the environment, which libraries read while they are imported.

    They stay set: what is fetched later, by the loaded model, needs them as well. A library
    that was imported before may not see them.
    """
    changed = [name for name in variables if os.environ.get(name) != variables[name]]
    libraries = ("huggingface_hub", "transformers", "mlx", "mlx_audio")
    early = [name for name in libraries if name in sys.modules]
    os.environ.update(variables)
    if changed and early:
        names, known = ", ".join(changed), ", ".join(early)
        warnings.warn(
            f"{known} was imported before {names} was set, and may not see it: load the model "
            "before anything imports it, or set it for the whole process",
            RuntimeWarning,
            stacklevel=3,
        )


def find(model, revision=None):
    """The directory of a model: itself, or the snapshot of a repository."""
    directory = Path(model).expanduser()
    if directory.exists():
        return Path(os.path.abspath(directory))
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, revision=revision))


def overlay(directory, name, mend_config):
    """A directory of that name with a mended config.json, and links to all else.

    It stays until the end of the process: a model may read its files at any time.
    """
    folder = tempfile.mkdtemp(prefix="adapter-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / name
    copy.mkdir()
    for entry in os.scandir(directory):
        if entry.name != "config.json":
            os.symlink(os.path.abspath(entry.path), copy / entry.name)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    mended = mend_config(config)
    (copy / "config.json").write_text(json.dumps(mended, indent=2), encoding="utf-8")
    return copy


def load_mended(directory, category, mend_weights, **options):
    """The model, loaded by mlx-audio from ``directory``.

    While it loads, ``mx.load`` gives the tensors of all weights files at once, mended, for
    the first of them, and nothing for the others.
    """
    import mlx.core as mx

    loader = importlib.import_module(f"mlx_audio.{category}.utils").load_model
    if mend_weights is None:
        return loader(str(directory), **options)
    original = mx.load
    files = sorted(str(file) for file in directory.glob("*.safetensors"))
    given = []

    def load(file, *args, **kwargs):
        if str(file) not in files:
            return original(file, *args, **kwargs)
        if given:
            return {}
        given.append(file)
        weights = {}
        for part in files:
            weights.update(original(part))
        return mend_weights(weights)

    mx.load = load
    try:
        return loader(str(directory), **options)
    finally:
        mx.load = original
