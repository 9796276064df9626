"""What a pasted text says of the machine it comes from: Python, system, versions of packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.knowledge import canonical

#: Lines of a text that are searched; longer ones are cut.
_LINES, _LENGTH = 20_000, 1000
_VERSION = r"\d+(?:\.\d+)+(?:(?:a|b|rc|\.post|\.dev)\d+)*"
_NAMES = (
    "mlx-audio mlx-lm mlx-vlm mlx-metal mlx-cpu mlx-cuda mlx huggingface-hub transformers tokenizers safetensors numpy"
    " misaki setuptools sentencepiece torch spacy thinc"
)
_NAME = "|".join(re.escape(name).replace(r"\-", "[-_]") for name in _NAMES.split())

#: An installed version, by how surely it is one: a path of the package itself, a pin or a list, words.
_PATH = re.compile(rf"(?P<name>{_NAME})-(?P<version>{_VERSION})(?:\.dist-info|\.egg-info|/|$)")
_RELEASE_FOLDER = re.compile(rf"/(?P<version>{_VERSION})/mlx_audio/")
_LISTED = re.compile(
    rf"(?<![\w.-])(?P<name>{_NAME})(?:==|@| {{2,}}|\": \"|'?: '?)(?P<version>{_VERSION})(?![\w.]*[*<>])", re.IGNORECASE
)
_INSTALLED_LINE = re.compile(r"^\s*Successfully installed (?P<all>.*)")
_IN_LINE = re.compile(rf"(?<![\w.-])(?P<name>{_NAME})-(?P<version>{_VERSION})(?=\s|$)")
_WORDS = re.compile(
    rf"(?<![\w.-])(?P<name>{_NAME})\s+(?:version\s+|v)?(?P<version>{_VERSION})(?![\w.]*[*<>])", re.IGNORECASE
)
_ABSENT = re.compile(rf"(?<![\w.-])(?P<name>{_NAME}): not installed")

_PYTHON_PATH = re.compile(r"(?:/python|/cpython-|/Python|\\Python|/Versions/)(3\.?\d{1,2}(?:\.\d{1,2})?)(?=[/\\-]|$)")
_PYTHON_WORDS = re.compile(r"\bPython(?:[ :=]+(?:version[ :=]+)?|/)v?(3\.\d{1,2}(?:\.\d{1,2})?)\b", re.IGNORECASE)
_SYSTEMS = (
    ("Windows", re.compile(r"^[A-Za-z]:[/\\]")),
    ("Darwin", re.compile(r"^/(?:Users|opt/homebrew|Library/Frameworks|Applications|private/var)/")),
    ("Linux", re.compile(r"^/(?:home|root|usr/lib/python3|opt/conda|content|workspace)\b")),
)


@dataclass(frozen=True, slots=True)
class Told:
    """``packages`` maps canonical names to versions; ``absent`` are those said not to be installed.

    ``python`` is such as 3.11 or 3.11.7, ``system`` Linux, Darwin or Windows; None where the text does not tell.
    """

    python: str | None = None
    system: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


def environment_in(lines: Sequence[str], chain: Iterable[ExceptionDoc]) -> Told:
    """What the text says, where it does not contradict itself."""
    looked_at = [line[:_LENGTH] for line in lines[-_LINES:]]
    files = [frame.file for document in chain for frame in document.frames]
    packages = _packages(looked_at, files)
    absent = {canonical(found["name"]) for line in looked_at for found in _ABSENT.finditer(line)}
    return Told(_python(looked_at, files), _system(files), packages, frozenset(absent - packages.keys()))


def _packages(lines: Sequence[str], files: Iterable[str]) -> dict[str, str]:
    sure: dict[str, set[str]] = {}
    listed: dict[str, set[str]] = {}
    said: dict[str, set[str]] = {}
    for file in files:
        for found in _PATH.finditer(file):
            sure.setdefault(canonical(found["name"]), set()).add(found["version"])
        folder = _RELEASE_FOLDER.search(file)
        if folder:
            listed.setdefault("mlx-audio", set()).add(folder["version"])
    for line in lines:
        installed = _INSTALLED_LINE.match(line)
        if installed:  # what was installed last is there
            listed.update({canonical(f["name"]): {f["version"]} for f in _IN_LINE.finditer(installed["all"])})
        for pattern, where in ((_LISTED, listed), (_WORDS, said)):
            for found in pattern.finditer(line):
                where.setdefault(canonical(found["name"]), set()).add(found["version"])
    packages: dict[str, str] = {}
    for where in (sure, listed, said):
        for name, versions in where.items():
            if name not in packages and len(versions) == 1:
                packages[name] = next(iter(versions))
    return packages


def _python(lines: Iterable[str], files: Iterable[str]) -> str | None:
    by_path = {_dotted(found[1]) for file in files for found in _PYTHON_PATH.finditer(file)}
    by_words = {found[1] for line in lines for found in _PYTHON_WORDS.finditer(line)}
    minors = {".".join(version.split(".")[:2]) for version in by_path}
    if len(minors) > 1:
        return None
    candidates = [version for version in by_words if not minors or ".".join(version.split(".")[:2]) in minors]
    if len(candidates) == 1:
        return candidates[0]
    return max(by_path, key=len) if by_path else None


def _dotted(version: str) -> str:
    """``311`` as ``3.11``: folders of Python on Windows have no dot."""
    return version if "." in version else f"{version[0]}.{version[1:]}"


def _system(files: Iterable[str]) -> str | None:
    found = {name for file in files for name, pattern in _SYSTEMS if pattern.match(file)}
    return found.pop() if len(found) == 1 else None
