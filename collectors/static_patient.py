"""What the patient's probe would say first, worked out from files: nothing of the patient is started.

For a look at files only. Knows virtual environments, plain installations, Debian's folders,
``.pth`` files that name folders, the finders of editable installations, and ``PYTHONPATH``; what
else an installation does when it starts (``sitecustomize``, ``.pth`` lines that run code) is not known.
"""

from __future__ import annotations

import ast
import glob
import mmap
import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.probes import installed
from mlx_diagnose.collectors.surroundings import imported_directory
from mlx_diagnose.collectors.syntax import parse

#: How programs begin: ELF, Mach-O of one architecture or of several.
_PROGRAMS = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf")
_NAME = re.compile(r"python", re.IGNORECASE)
#: What every program that is CPython calls or holds; for those of another name.
_ENTRY = b"Py_BytesMain"
_FOLDER = re.compile(r"python(?P<version>3\.\d+)$")


def unfit(executable: str) -> str | None:
    """Why files do not tell what ``executable`` imports: it is no Python, or a wrapper of one; None where they do."""
    path = Path(os.path.abspath(executable))
    if os.path.realpath(path) == os.path.realpath(sys.executable):
        return None
    if _NAME.match(path.name) and (path.parent.parent / "pyvenv.cfg").is_file():
        return None  # whatever starts it, its environment is known
    try:
        with open(executable, "rb") as file:
            head = file.read(4)
            if head.startswith(b"#!"):
                return "it is a script; which interpreter it starts is known only when it runs"
            if not head.startswith(_PROGRAMS):
                return "it is no program"
            if not _NAME.match(os.path.basename(os.path.realpath(executable))):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if content.find(_ENTRY) < 0:
                        return "it is a program without a Python inside"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
    return None


def greeting(executable: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """As the probe's ``hello``: python, system, machine, os_version, implementation, executable, prefix, path.

    ``path`` is ``sys.path`` as far as files tell; without a library folder it is PYTHONPATH alone.
    """
    prefix, found, version = _layout(Path(executable))
    path = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if os.path.realpath(prefix) == os.path.realpath(sys.prefix):
        version = platform.python_version()
        path += [entry for entry in sys.path if entry]
    else:
        path += map(str, found)
    return {
        "python": version,
        "implementation": "cpython",
        "executable": executable,
        "prefix": str(prefix),
        "system": platform.system(),
        "machine": platform.machine(),
        "os_version": platform.mac_ver()[0] or platform.release(),
        "path": list(dict.fromkeys(path)),
    }


def mlx_audio(hello: Mapping[str, Any], category: str | None, config: Any, name: str) -> dict[str, Any]:
    """As the probe's ``mlx_audio``: directory, version, category."""
    found = imported_directory(hello["path"]) or _archived(hello["path"])
    directory = str(found) if found is not None else None
    if directory is not None:
        category = category or installed.category_of(directory, config, name)
    version = installed.version(directory) if directory is not None else None
    return {"directory": directory, "version": version, "category": category or "tts"}


def _archived(path: Sequence[str]) -> Path | None:
    """The place of the package inside a zip archive on ``path``; its sources are out of reach there."""
    for entry in map(Path, path):
        try:
            if entry.is_file() and zipfile.is_zipfile(entry):
                with zipfile.ZipFile(entry) as archive:
                    if any(name.startswith("mlx_audio/") for name in archive.namelist()):
                        return entry / "mlx_audio"
        except (OSError, zipfile.BadZipFile):
            continue
    return None


def _layout(executable: Path) -> tuple[Path, list[Path], str | None]:
    """(prefix, what its start puts on ``sys.path``, version)."""
    prefix = Path(os.path.abspath(executable)).parent.parent
    settings = _settings(prefix / "pyvenv.cfg")
    if settings is None:
        prefix = Path(os.path.realpath(executable)).parent.parent
        settings = {}
    version = settings.get("version_info") or settings.get("version")
    libraries = _libraries(prefix, version)
    base = _libraries(Path(settings["home"]).parent, version) if settings.get("home") else libraries
    path = [entry for library in base for entry in _standard(library)]
    path += [entry for library in libraries for entry in _packages(library)]
    if settings.get("include-system-site-packages", "").lower() == "true":
        path += [entry for library in base for entry in _packages(library)]
    if version is None and libraries:
        match = _FOLDER.search(str(libraries[0]))
        version = match["version"] if match else None
    return prefix, path, version


def _settings(file: Path) -> dict[str, str] | None:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _libraries(prefix: Path, version: str | None) -> list[Path]:
    """``lib/python3.x`` under ``prefix``; with a version, that one alone."""
    bases = [prefix / "lib", prefix / "lib64", *([Path("/usr/local/lib")] if str(prefix) == "/usr" else [])]
    names = [name for base in bases for name in sorted(glob.glob(os.path.join(glob.escape(str(base)), "python3*")))]
    found = [Path(name) for name in {os.path.realpath(name): name for name in reversed(names)}.values()][::-1]
    minor = ".".join(version.split(".")[:2]) if version else None
    return [folder for folder in found if _FOLDER.search(folder.name) and minor in (None, folder.name[len("python") :])]


def _standard(library: Path) -> Iterator[Path]:
    if (library / "os.py").exists():
        yield library
        yield library / "lib-dynload"


def _packages(library: Path) -> Iterator[Path]:
    """Folders for packages, with what their ``.pth`` files add; Debian's are called and shared differently."""
    for folder in (library / "site-packages", library / "dist-packages", library.parent / "python3" / "dist-packages"):
        if folder.is_dir():
            yield folder
            yield from _pth_entries(folder)


def _pth_entries(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.glob("*.pth")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in map(str.strip, lines):
            if line.startswith(("import ", "import\t")):
                yield from _editable(folder, line)
            elif line and not line.startswith("#") and (folder / line).exists():
                yield folder / line


def _editable(folder: Path, line: str) -> Iterator[Path]:
    """Where the packages of an editable installation lie, from the finder that its ``.pth`` file would import.

    The finder's MAPPING is as ``setuptools/command/editable_wheel.py`` writes it.
    """
    module = line.split()[1].split(";")[0].strip(",")
    try:
        tree = parse((folder / f"{module}.py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "MAPPING" for target in targets):
            try:
                mapping = ast.literal_eval(getattr(node, "value", None))  # type: ignore[arg-type]
            except ValueError:
                continue
            # A package of another folder's name is found by its finder alone.
            for name, place in mapping.items() if isinstance(mapping, dict) else ():
                if os.path.basename(str(place)) == name:
                    yield Path(str(place)).parent
