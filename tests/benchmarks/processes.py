"""What a process costs, and the processes that are compared: diagnose, and mlx-audio's own load."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.specimens import Size, Specimen, make_specimen

#: Families whose whole full-size specimens are measured: a small model, a language model, one with companions.
FAMILIES = ("kokoro", "llama", "sesame")

#: Families whose small specimens are only looked at: most code to read, and as much as half of the families have.
STATIC = ("qwen3_tts", "llama")

NOTHING = (sys.executable, "-c", "pass")
VERSION = (sys.executable, "-m", "mlx_diagnose", "--version")
#: Both sides find their modules compiled, as they do wherever this variable is not set.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_LOAD = "import sys; from mlx_audio.tts.utils import load_model; load_model(sys.argv[1], lazy=True, strict=True)"


@dataclass(frozen=True)
class Cost:
    """``seconds`` from start to end; ``peak`` resident bytes of the largest process of those waited for."""

    seconds: float
    peak: int


@dataclass(frozen=True)
class Comparison:
    """Two commands run by turns, after one run of each that does not count: both are warm."""

    ours: tuple[Cost, ...]
    theirs: tuple[Cost, ...]

    @property
    def time_ratio(self) -> float:
        return statistics.median(c.seconds for c in self.ours) / statistics.median(c.seconds for c in self.theirs)

    @property
    def peak_ratio(self) -> float:
        return statistics.median(c.peak for c in self.ours) / statistics.median(c.peak for c in self.theirs)


@dataclass(frozen=True)
class Case:
    """A healthy full-size specimen, and how it is diagnosed and loaded."""

    specimen: Specimen
    environment: Mapping[str, str]

    @property
    def diagnose(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "mlx_diagnose", str(self.specimen.path), "--json")

    @property
    def static(self) -> tuple[str, ...]:
        return (*self.diagnose, "--only-static", "--exit-zero")

    @property
    def load(self) -> tuple[str, ...]:
        return (sys.executable, "-c", _LOAD, str(self.specimen.path))


def healthy(family: str, directory: Path, size: Size = "full") -> Case:
    """A specimen of ``family`` under ``directory``; saved runs stay there as well."""
    specimen = make_specimen(family, directory, size=size)
    home = {"MLX_DIAGNOSE_HOME": str(directory / "runs")}
    return Case(specimen, {**ENVIRONMENT, **specimen.environment, **home})


#: Runs its arguments as a command; tells seconds, peak memory and exit code. A process of its own, since the kernel
#: counts what the parent held at the fork as the child's, and the one that runs many tests holds hundreds of MB.
_LAUNCHER = """
import json, os, sys, time
null = os.open(os.devnull, os.O_RDWR)
quiet = [(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
began = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, status, usage = os.wait4(pid, 0)
print(json.dumps([time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


def cost(command: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT) -> Cost:
    """Run ``command`` and measure it. Raises CalledProcessError when it does not end with 0.

    The peak is the kernel's own count (``wait4``), so nothing is missed between two looks. It is
    never less than the 10 MB of the process that starts the command.
    """
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
    done = subprocess.run(launch, env=dict(environment), capture_output=True, text=True, check=True)
    seconds, peak, code = json.loads(done.stdout)
    if code:
        raise subprocess.CalledProcessError(code, list(command))
    return Cost(seconds, peak * (1 if sys.platform == "darwin" else 1024))


def compare(
    ours: Sequence[str], theirs: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT, *, rounds: int
) -> Comparison:
    """``rounds`` runs of both commands by turns, so that a busy machine is busy for both."""
    pairs = [(cost(ours, environment), cost(theirs, environment)) for _ in range(rounds + 1)][1:]
    return Comparison(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
