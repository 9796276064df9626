"""Chooses the patient's interpreter: the one asked for, the activated environment's, or ours."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.engine.model import UsageError


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter and the reason why it is the patient."""

    executable: str
    because: str


def choose(asked: str | None, environ: Mapping[str, str] = os.environ) -> Interpreter:
    """The patient's interpreter.

    ``asked`` is a path to an interpreter, to a virtual environment, or a command on PATH.
    Without it: the activated environment's, if mlx-audio is installed there, else the running one.
    Raises UsageError when ``asked`` names nothing that can be started.
    """
    if asked is not None:
        return Interpreter(_asked(asked, environ), "asked for with --python")
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        prefix = environ.get(variable)
        if not prefix:
            continue
        executable = os.path.join(prefix, "bin", "python")
        if os.path.realpath(prefix) == os.path.realpath(sys.prefix):
            return Interpreter(sys.executable, f"the activated environment ({variable}), which diagnose itself runs in")
        if os.access(executable, os.X_OK) and has_mlx_audio(prefix):
            return Interpreter(executable, f"the activated environment ({variable}) has mlx-audio")
    return Interpreter(sys.executable, "the interpreter that diagnose itself runs in")


def _asked(asked: str, environ: Mapping[str, str]) -> str:
    path = os.path.expanduser(asked)
    if os.path.isdir(path):
        inside = os.path.join(path, "bin", "python")
        if not os.path.exists(inside):
            raise UsageError(
                "python-not-found",
                f"--python {asked} is a directory without bin/python.",
                why="It is not a virtual environment.",
                next_step="Give the interpreter itself, such as .venv/bin/python.",
            )
        path = inside
    if os.sep not in path:
        found = shutil.which(path, path=environ.get("PATH"))
        if found is None:
            raise UsageError(
                "python-not-found",
                f"--python {asked} is no command on PATH.",
                next_step="Give the path of an interpreter, such as .venv/bin/python.",
            )
        return found
    if not os.path.exists(path):
        raise UsageError(
            "python-not-found",
            f"--python {asked} does not exist.",
            next_step="Give the path of an interpreter, such as .venv/bin/python.",
        )
    if not os.access(path, os.X_OK):
        raise UsageError(
            "python-not-executable",
            f"--python {asked} cannot be executed.",
            next_step="Check its permissions, or give another interpreter.",
        )
    # Not resolved: a virtual environment is known by the path of its link.
    return os.path.abspath(path)


def has_mlx_audio(prefix: str) -> bool:
    """Whether an environment has mlx-audio installed, by its files alone (editable installs too)."""
    for site in glob.glob(os.path.join(glob.escape(prefix), "lib", "python*", "site-packages")):
        if Path(site, "mlx_audio").is_dir() or glob.glob(os.path.join(glob.escape(site), "mlx_audio-*.dist-info")):
            return True
    return False
