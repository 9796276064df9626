"""Installed distributions of the patient, read from their metadata directories.

Only the header of a METADATA file is read, and only for distributions that are asked for: an
environment holds hundreds, and a diagnosis cares for a few dozen. Nothing of the patient is
imported and no file of it is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlx_diagnose.collectors.knowledge import canonical

_FOLDER = re.compile(r"^(?P<name>.+?)(?:-(?P<version>[^-]+?))?(?:-py\d[\d.]*)?\.(?P<kind>dist-info|egg-info)$")
_MAX_HEADER = 512 * 1024


@dataclass(frozen=True, eq=False)
class Distribution:
    """An installed distribution. ``name`` is canonical; ``location`` the ``sys.path`` entry it lies in."""

    name: str
    location: Path
    metadata: Path

    @cached_property
    def _headers(self) -> list[tuple[str, str]]:
        return list(_headers(self.metadata))

    @cached_property
    def version(self) -> str | None:
        """The version that its metadata states, else that of the folder's name."""
        stated = next((value for name, value in self._headers if name == "version"), None)
        folder = _FOLDER.match(self.metadata.name)
        return stated or (folder["version"] if folder else None)

    @cached_property
    def requires(self) -> list[str]:
        """Requirements as written, those of extras included."""
        found = [value for name, value in self._headers if name == "requires-dist"]
        return found or list(_egg_requires(self.metadata / "requires.txt"))

    @cached_property
    def top_level(self) -> frozenset[str]:
        """Its top-level modules: ``top_level.txt``, else the first parts of the files in ``RECORD``."""
        for name in ("top_level.txt", "RECORD"):
            try:
                lines = (self.metadata / name).read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
            heads = {re.split(r"[/,]", line.strip(), maxsplit=1)[0].split(".")[0] for line in lines if line.strip()}
            return frozenset(head for head in heads if head.isidentifier())
        return frozenset()


def _headers(metadata: Path) -> Iterator[tuple[str, str]]:
    """(lower-case name, value) of the header lines of METADATA or PKG-INFO; none where it cannot be read."""
    files = [metadata] if metadata.is_file() else [metadata / "METADATA", metadata / "PKG-INFO"]
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="replace") as stream:
                text = stream.read(_MAX_HEADER)
        except OSError:
            continue
        for line in text.splitlines():
            if not line.strip():
                return
            name, colon, value = line.partition(":")
            if colon and not name[:1].isspace():
                yield name.strip().lower(), value.strip()
        return


def _egg_requires(file: Path) -> Iterator[str]:
    """``requires.txt`` of an egg-info as requirement lines, its sections as markers."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    marker = ""
    for line in map(str.strip, lines):
        section = re.match(r"\[([^:\]]*):?([^\]]*)\]$", line)
        if section:
            parts = [f'extra == "{section[1]}"'] if section[1] else []
            parts += [f"({section[2]})"] if section[2] else []
            marker = " and ".join(parts)
        elif line:
            yield f"{line}; {marker}" if marker else line


class Installed:
    """The distributions on a search path, by canonical name; the first on the path counts, as it does for Python."""

    def __init__(self, search_path: Sequence[str | Path]) -> None:
        self._found: dict[str, Distribution] = {}
        for entry in dict.fromkeys(Path(entry) for entry in search_path):
            for distribution in _in_folder(entry):
                self._found.setdefault(distribution.name, distribution)

    def get(self, name: str) -> Distribution | None:
        return self._found.get(canonical(name))

    def names(self) -> list[str]:
        return list(self._found)

    def provider_of(self, module: str) -> Distribution | None:
        """The distribution that brings a top-level module, by the files that its metadata lists."""
        return self._found.get(self._providers.get(module, ""))

    @cached_property
    def _providers(self) -> dict[str, str]:
        return {top: name for name, distribution in self._found.items() for top in distribution.top_level}

    def without(self, name: str) -> None:
        """Forget a distribution that another copy of its package stands in front of."""
        self._found.pop(canonical(name), None)


def _in_folder(folder: Path) -> list[Distribution]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = []
    for name in names:
        match = _FOLDER.match(name)
        # ``~ackage`` is what pip leaves of an uninstallation that was interrupted.
        if match and not name.startswith("~"):
            found.append(Distribution(canonical(match["name"]), folder, folder / name))
    # An interrupted upgrade leaves an empty folder beside the true one.
    return sorted(found, key=lambda distribution: not _has_metadata(distribution.metadata))


def _has_metadata(path: Path) -> bool:
    return path.is_file() or (path / "METADATA").is_file() or (path / "PKG-INFO").is_file()


def marker_environment(hello: Mapping[str, object]) -> dict[str, str]:
    """The variables of :pep:`508` markers for the interpreter that said ``hello``."""
    system = str(hello.get("system") or "")
    version = str(hello.get("python") or "3")
    implementation = str(hello.get("implementation") or "cpython")
    return {
        "implementation_name": implementation,
        "implementation_version": version,
        "os_name": "nt" if system == "Windows" else "posix",
        "platform_machine": str(hello.get("machine") or ""),
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(implementation, implementation),
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": {"Darwin": "darwin", "Windows": "win32"}.get(system, "linux"),
        "extra": "",
    }
