"""Where the patient's mlx-audio lies, and a scratch copy of it, of links, in which a file can be changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_WHERE = (
    "import sys; sys.path = [entry for entry in sys.path if entry]; from importlib.util import find_spec; "
    "print(list(find_spec('mlx_audio').submodule_search_locations)[0])"
)


def package_folder(executable: str) -> Path | None:
    """The folder that holds the package ``mlx_audio`` which the interpreter imports; nothing of it is imported."""
    done = subprocess.run([executable, "-c", _WHERE], capture_output=True, text=True, timeout=60, check=False)
    path = Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None
    return path.parent if path is not None and path.is_dir() else None


def copy_package(folder: Path, into: Path) -> None:
    """The package of ``folder`` in ``into``, every file a link."""
    shutil.copytree(
        folder / "mlx_audio",
        into / "mlx_audio",
        copy_function=lambda source, target: os.symlink(os.path.abspath(source), target),
        ignore=shutil.ignore_patterns("__pycache__"),
    )
