"""Native libraries and programs that packages call: in the wheel that brings them, or on the system.

Looked for by the files of the patient's environment and by the system's own look-up; nothing is
loaded. The patient runs on this machine, so what this process finds it finds as well.
"""

from __future__ import annotations

import ctypes.util
import glob
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.collectors.installed_modules import InstalledModules
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("native_libraries")
#: Where Homebrew puts libraries on Apple silicon; a Python that is not Homebrew's does not look there.
_HOMEBREW = "/opt/homebrew/lib"


@dataclass(frozen=True, slots=True)
class Library:
    """A library and who calls it: ``packages`` are modules, the first that is there counts; none: mlx-audio itself.

    ``wheels`` are modules that bring a copy; ``variable`` one of the environment that names it.
    """

    name: str
    packages: tuple[str, ...]
    purpose: str
    wheels: tuple[str, ...] = ()
    sonames: tuple[str, ...] = ()
    program: str | None = None
    variable: str | None = None


#: ``mlx_audio/audio_io.py`` (ffmpeg), and the packages' own documentation.
LIBRARIES = (
    Library(
        "espeak-ng",
        ("phonemizer", "misaki"),
        "turning text into phonemes",
        wheels=("espeakng_loader",),
        sonames=("espeak-ng", "espeak"),
        variable="PHONEMIZER_ESPEAK_LIBRARY",
    ),
    Library("libsndfile", ("soundfile",), "reading sound files", wheels=("_soundfile_data",), sonames=("sndfile",)),
    Library("portaudio", ("sounddevice",), "playing sound", wheels=("_sounddevice_data",), sonames=("portaudio",)),
    Library("ffmpeg", (), "reading and writing other sound files than WAV, FLAC and MP3", program="ffmpeg"),
)


def collect(
    memory: WorkingMemory,
    modules: InstalledModules,
    imported: Collection[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    find: Callable[[str], str | None] = ctypes.util.find_library,
) -> None:
    """Assert native_library for what is called by installed packages.

    ``imported`` are the top-level modules that matter, None for all and for mlx-audio itself;
    ``find`` is the system's look-up of a library by name.
    """
    for library in LIBRARIES:
        by = next((name for name in library.packages if modules.find(name) and _matters(name, imported)), None)
        if by is None and (library.packages or imported is not None):
            continue
        found, where = _look(library, modules, environ, find)
        memory.add(
            "native_library",
            _HERE,
            name=library.name,
            found=found,
            where=where,
            needed_by=by or "mlx_audio",
            purpose=library.purpose,
        )


def _matters(name: str, imported: Collection[str] | None) -> bool:
    return imported is None or name in imported


def _look(
    library: Library, modules: InstalledModules, environ: Mapping[str, str], find: Callable[[str], str | None]
) -> tuple[bool, str | None]:
    """Whether it is found, and where; found nowhere but where nobody looks is not found, with the place."""
    if library.program is not None:
        where = shutil.which(library.program, path=environ.get("PATH"))
        return where is not None, where
    named = environ.get(library.variable) if library.variable else None
    if named:
        return Path(named).exists(), named
    for wheel in library.wheels:
        place = modules.find(wheel)
        if place is not None and (place.file is None or any(_libraries(place.file.parent))):
            return True, str(place.file.parent) if place.file is not None else wheel
    for soname in library.sonames:
        where = find(soname)
        if where:
            return True, where
    apart = [file for soname in library.sonames for file in glob.glob(f"{_HOMEBREW}/lib{soname}*.dylib")]
    return False, apart[0] if apart else None


def _libraries(folder: Path) -> list[str]:
    return [
        name for _, _, names in os.walk(folder) for name in names if name.endswith((".so", ".dylib")) or ".so." in name
    ]
