"""Runs a generated adapter in the patient's interpreter: does it load the original model?"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

#: Run as ``PYTHON -c``: the current directory leaves the path, and nothing is unpickled.
_RUNNER = """\
import sys
if sys.path and sys.path[0] == "":
    del sys.path[0]
def refuse(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError("unpickling is refused while an adapter is tried")
sys.addaudithook(refuse)
import runpy
runpy.run_path(sys.argv[1])["load"](lazy=True)
"""
_SAID = 300


def failure_of(executable: str, source: str, seconds: float) -> str | None:
    """Why the adapter in ``source`` does not load its model offline, in a line; None if it does."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory(prefix="diagnose-adapter-") as folder:
        file, said = Path(folder, "adapter.py"), Path(folder, "stderr")
        file.write_text(source, encoding="utf-8")
        with said.open("wb") as errors:
            try:
                process = subprocess.Popen(
                    [executable, "-c", _RUNNER, str(file)],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                return f"{executable} cannot be started: {error.strerror or error}"
            try:
                code = process.wait(seconds)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    return f"it did not end within {seconds:g} s"
                raise
        if code == 0:
            return None
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:_SAID] if lines else f"it ended with {code}"
