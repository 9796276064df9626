"""Starts the patient's process for a target, with its environment and limits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_diagnose.adapters import shims as loader_shims
from mlx_diagnose.collectors.interpreter import Interpreter
from mlx_diagnose.collectors.process import Limits, PatientProcess
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.options import Options

#: Part of the machine's memory that a patient may use unless told otherwise.
_MEMORY_SHARE = 0.9
#: Address space that a patient needs beyond its memory: libraries, thread stacks.
_ADDRESS_SPACE_SLACK = 16 << 30


def start(
    options: Options,
    interpreter: Interpreter,
    located: Located | None,
    shims: Sequence[str] = (),
    *,
    ghost: bool = False,
    packages: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> PatientProcess:
    """Start the patient on what ``located`` names. Raises UsageError.

    ``shims`` are names of loader shims; ``ghost``: of the weights only shapes are known; what lies in
    the folder ``packages`` is imported before what is installed; ``variables`` are set beside the
    user's. Without a target it imports MLX and the loader, and loads nothing.
    """
    directory = located.directory if located is not None else None
    cache = located.cache if located is not None else None
    offline = options.offline is not False or directory is None or cache is not None
    environment = {**os.environ, **(variables or {})}
    if offline:
        # Also for what is not cached: loading it would download it whole, and a diagnosis never does.
        environment.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    if packages is not None:
        path = [str(packages), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
    if cache is not None:
        environment.update(dict.fromkeys(("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), str(cache.path)))
    memory = options.memory or int(_physical_memory() * _MEMORY_SHARE)
    limits = Limits(options.timeout, memory, _address_space(memory, directory))
    job = {
        "load": located.load if located is not None else None,
        "name": located.name if located is not None else "",
        "directory": str(directory) if directory else None,
        "category": options.category,
        "revision": options.revision,
        "offline": offline,
        "address_space": limits.address_space,
        "shims": [(name, loader_shims.source(name)) for name in shims],
        "keep": True,
        "traced": options.trace,
        "ghost": ghost or cache is not None,
        "unfetched": str(cache.unfetched) if cache is not None else None,
    }
    try:
        return PatientProcess(interpreter.executable, job, environment, limits)
    except OSError as error:
        raise not_python(interpreter, str(error.strerror or error)) from None


def greeting(interpreter: Interpreter) -> dict[str, Any]:
    """What a patient that is not started would say of itself. Raises UsageError where its files do not tell."""
    from mlx_diagnose.collectors import static_patient

    why = static_patient.unfit(interpreter.executable)
    if why is not None:
        raise not_python(interpreter, why)
    return static_patient.greeting(interpreter.executable)


def not_python(interpreter: Interpreter, why: str) -> UsageError:
    """The error for an interpreter that is none."""
    return UsageError(
        "not-python",
        f"{interpreter.executable} is not a Python that can be examined.",
        why=why,
        next_step="Give the interpreter of the environment that has mlx-audio with --python.",
    )


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _address_space(memory: int, directory: Path | None) -> int | None:
    """The ceiling inside the patient, or None where a GPU driver reserves more than any memory.

    Weights count besides: some readers map a whole file.
    """
    if os.path.exists("/dev/nvidia0"):
        return None
    mapped = 0
    if directory is not None:
        with contextlib.suppress(OSError):
            mapped = sum(entry.stat().st_size for entry in os.scandir(directory) if entry.is_file())
    return memory + mapped + _ADDRESS_SPACE_SLACK
