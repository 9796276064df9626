"""The patient's interpreter, machine and packages, from its greeting and the metadata on its ``sys.path``."""

from __future__ import annotations

import os
import re
import shutil
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.distributions import Installed
from mlx_diagnose.collectors.requirements import Need, in_range
from mlx_diagnose.collectors.surroundings import MLX_AUDIO, Surroundings
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_NAME = "environment"
_OURS = "mlx-diagnose"

#: Told of even when they are not installed: a rule may ask for their absence.
_ALWAYS = ("mlx-audio", "mlx", "mlx-lm", "transformers", "huggingface-hub", "numpy", "safetensors", "tokenizers")
#: Distributions that ship MLX's native library beside the wheel ``mlx``.
_BACKENDS = ("mlx-metal", "mlx-cpu", "mlx-cuda")
#: Requirements of these are told in full, of others only where they are not met.
_TOLD_IN_FULL = ("mlx-audio", "mlx-lm", "mlx", "transformers", "huggingface-hub")
_MAX_DISTRIBUTIONS = 300
#: Where Linux says what a container may take (control groups, version 2 and 1).
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def collect(
    memory: WorkingMemory,
    *,
    hello: Mapping[str, Any],
    backend: Mapping[str, Any] | None = None,
    mlx_audio: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    around: Surroundings | None = None,
) -> dict[str, str]:
    """Assert interpreter, backend, package and requirement; the versions of the packages that matter, by name.

    ``hello`` holds python, system, machine, os_version, implementation and path (``sys.path``);
    ``backend`` importable, device, metal and error; ``mlx_audio`` the directory and version of the
    package that the patient imports; ``directory`` is where the model lies. All come from
    the probe; ``around`` is made of them where it is not at hand.
    """
    around = around or Surroundings(hello, mlx_audio)
    imported, installed = around.mlx_audio, around.installed
    _assert_interpreter(memory, hello, directory)
    if backend is not None or installed.get("mlx") is not None:
        _assert_backend(memory, backend or {}, installed)
    versions = _assert_packages(memory, around)
    if imported is not None:
        versions[MLX_AUDIO] = imported
        if installed.get(MLX_AUDIO) is None:
            _assert_package(memory, MLX_AUDIO, imported, None)
    for name in _ALWAYS:
        if name not in versions:
            _assert_absent(memory, name)
    return versions


def _assert_interpreter(memory: WorkingMemory, hello: Mapping[str, Any], directory: Path | None) -> None:
    memory.add(
        "interpreter",
        Provenance(_NAME, file=hello.get("executable")),
        version=str(hello.get("python") or "unknown"),
        system=str(hello.get("system") or "unknown"),
        machine=str(hello.get("machine") or "unknown"),
        os_version=clean(str(hello["os_version"]), 200) if hello.get("os_version") else None,
        chip=_chip(str(hello.get("system"))),
        memory_bytes=_physical_memory(),
        free_disk_bytes=_free_disk(directory),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _chip(system: str) -> str | None:
    """The processor's name, from the system of the patient, which is ours."""
    if system == "Darwin":
        import subprocess

        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        return clean(said, 100).strip() or None
    # ARM machines on Linux name no model there.
    named = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    return clean(named[1], 100).strip() if named else None


def _physical_memory() -> int | None:
    """Memory of the machine, or what its container may take of it."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    limits = [int(text) for text in map(_read, _CONTAINER_LIMITS) if text.isdigit()]
    return min([physical, *limits])


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return ""


def _free_disk(directory: Path | None) -> int | None:
    try:
        return shutil.disk_usage(directory or Path.cwd()).free
    except OSError:
        return None


def _assert_backend(memory: WorkingMemory, backend: Mapping[str, Any], installed: Installed) -> None:
    device = str(backend["device"]).lower() if backend.get("device") else None
    info = backend.get("info") or {}
    memory.add(
        "backend",
        Provenance(_NAME),
        importable=backend.get("importable"),
        device=None if device is None else "gpu" if "gpu" in device else "cpu",
        metal=backend["metal"] if isinstance(backend.get("metal"), bool) else None,
        library_package=_library_package(installed),
        error=clean(str(backend["error"]), 500) if backend.get("error") else None,
        chip=clean(str(info["name"]), 100) if info.get("name") else None,
        memory_bytes=_whole(info.get("memory")),
        working_set_bytes=_whole(info.get("working_set")),
        buffer_bytes=_whole(info.get("buffer")),
    )


def _library_package(installed: Installed) -> str | None:
    """The distribution that ships ``mlx/lib/libmlx.*``; None where no installed one does."""
    mlx = installed.get("mlx")
    if mlx is None or not any((mlx.location / "mlx" / "lib").glob("libmlx.*")):
        return None
    # Before they were split off, the wheel ``mlx`` had the library itself.
    found = sorted(name for name in installed.names() if name.startswith(_BACKENDS))
    return found[0] if found else "mlx"


def _assert_packages(memory: WorkingMemory, around: Surroundings) -> dict[str, str]:
    """Assert the distributions that mlx-audio and MLX draw in, with what they require of each other."""
    installed, by_extra, chain = around.installed, around.extras, around.chains
    roots = [*_ALWAYS, *(name for name in installed.names() if name.startswith("mlx") and name != _OURS), *by_extra]
    queue = deque(dict.fromkeys(roots))
    versions: dict[str, str] = {}
    seen: set[str] = set(queue)
    while queue and len(seen) < _MAX_DISTRIBUTIONS:
        name = queue.popleft()
        distribution = installed.get(name)
        if distribution is None:
            if name in by_extra:
                _assert_absent(memory, name, by_extra[name])
            continue
        versions[name] = distribution.version or "unknown"
        _assert_package(memory, name, distribution.version, distribution.metadata, by_extra.get(name))
        for need in around.requirements.of(distribution):
            met = _assert_requirement(memory, need, installed, chain.get(need.owner.name))
            if not met and installed.get(need.package) is None and need.package not in by_extra:
                _assert_absent(memory, need.package)
            if need.package not in seen:
                seen.add(need.package)
                queue.append(need.package)
    return versions


def _assert_package(
    memory: WorkingMemory, name: str, version: str | None, metadata: Path | None, extra: str | None = None
) -> None:
    at = Provenance(_NAME, file=str(metadata) if metadata else None)
    version = clean(version, 100) if version else None
    memory.add("package", at, name=name, installed=True, version=version, extra=extra)


def _assert_absent(memory: WorkingMemory, name: str, extra: str | None = None) -> None:
    memory.add("package", Provenance(_NAME), name=name, installed=False, version=None, extra=extra)


def _assert_requirement(memory: WorkingMemory, need: Need, installed: Installed, chain: tuple[str, ...] | None) -> bool:
    """Assert a requirement that matters; whether it is met. ``chain`` leads from mlx-audio to its owner."""
    wanted = installed.get(need.package)
    version = wanted.version if wanted is not None else None
    met = version is not None and in_range(need.requirement, version)
    if not met or need.owner.name in _TOLD_IN_FULL:
        memory.add(
            "requirement",
            Provenance(_NAME, file=str(need.owner.metadata)),
            owner=need.owner.name,
            owner_version=need.owner.version or "unknown",
            package=need.package,
            specifier=clean(str(need.requirement.specifier), 200),
            installed_version=clean(version, 100) if version else None,
            satisfied=met,
            chain=clean(" > ".join((*chain, need.package)), 300) if chain else None,
        )
    return met
