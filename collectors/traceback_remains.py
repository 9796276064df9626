"""What is left of a failure in a text without a traceback: a last line, a crash, what an installer says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlx_diagnose.collectors import traceback_patterns as patterns
from mlx_diagnose.collectors.exception_docs import Frame
from mlx_diagnose.collectors.text import clean

_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Crash:
    """A process that ended without an exception. ``frames`` are outermost first, empty where none were dumped."""

    signal: str
    detail: str
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an installer says: ``what`` is no-release, conflict, python-version or build-failed."""

    tool: str
    what: str
    message: str
    package: str | None = None
    requirement: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class LoneException:
    """An exception named in line ``index`` of a text, without its traceback."""

    index: int
    type: str
    message: str


# -- a last line ---------------------------------------------------------------------------------

_NAMED = re.compile(r"(?:^|[\s\[(>\"'`=|:])(?P<type>(?:[A-Za-z_]\w*\.){0,8}[A-Z]\w*): ?(?P<message>.*)$", re.DOTALL)
#: Words of programs that tell no type.
_ANY = frozenset({"Error", "Exception", "Warning"})
#: Messages that tell their type, in logs that print the message alone.
_SPEAKING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(words), type)
    for words, type in (
        (r"Model type \S{1,200} not supported", "ValueError"),
        (r"Received (?:\d+ )?parameters not in model", "ValueError"),
        (r"Missing (?:\d+ )?parameters:", "ValueError"),
        (r"Expected shape \(", "ValueError"),
        (r"Tokenizer class \w+ does not exist", "ValueError"),
        (r"numpy\.\w+ size changed, may indicate binary incompatibility", "ValueError"),
        (r"No module named '?[\w.]+'?", "ModuleNotFoundError"),
        (r"cannot import name '", "ImportError"),
        (r"Missing dependency while loading ", "ImportError"),
        (r"[\w.+/-]{1,200}: cannot open shared object file", "ImportError"),
        (r"dlopen\(", "ImportError"),
        (r"No safetensors found in|No weight files \(", "FileNotFoundError"),
        (r"\[(?:metal_kernel|load_safetensors|load_npz|load|read|malloc)\] ", "RuntimeError"),
        (r"There is no Stream\(", "RuntimeError"),
        (r"You are trying to access a gated repo", "OSError"),
        (r"Can't load (?:tokenizer|feature extractor|processor|image processor) for", "OSError"),
        (r"Cannot find an appropriate cached snapshot folder", "LocalEntryNotFoundError"),
        (r"Repository Not Found for url:", "RepositoryNotFoundError"),
    )
)


def lone_exception(lines: Sequence[str]) -> LoneException | None:
    """The last exception that a line names, else the last message that tells what it is; warnings come last."""
    spoken = warning = None
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        named = _NAMED.search(line)
        if named is not None and named["type"] not in _ANY and patterns.is_type(named["type"], True, False):
            found = LoneException(index, named["type"], named["message"])
            if not named["type"].endswith("Warning"):
                return found
            warning = warning or found
        elif patterns.is_bare_type(line.strip()):
            return LoneException(index, line.strip(), "")
        elif spoken is None:
            spoken = _spoken(index, line)
    return spoken or warning


def _spoken(index: int, line: str) -> LoneException | None:
    for words, type in _SPEAKING:
        found = words.search(line)
        if found:
            return LoneException(index, type, line[found.start() :])
    return None


# -- a crash ---------------------------------------------------------------------------------------

_FATAL = re.compile(r"Fatal Python error: (?P<what>.+)")
#: How shells and run-time libraries tell of a death, and the signal.
_DEATHS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(words, re.IGNORECASE), signal)
    for words, signal in (
        (r"segmentation fault|\bSIGSEGV\b", "SIGSEGV"),
        (r"\bbus error\b|\bSIGBUS\b", "SIGBUS"),
        (r"illegal (?:hardware )?instruction|\bSIGILL\b", "SIGILL"),
        (r"floating point exception|\bSIGFPE\b", "SIGFPE"),
        (r"terminating due to uncaught exception|terminate called after throwing", "SIGABRT"),
        (r"^(?:.*: )?abort(?:ed)?(?: trap)?(?:: 6)?(?: \(core dumped\))?(?: |$)|\bSIGABRT\b", "SIGABRT"),
        (r"^(?:.*: )?killed(?:: 9)?(?:  |$)|\bSIGKILL\b|\boom-?kill", "SIGKILL"),
    )
)


def crash_in(lines: Sequence[str]) -> Crash | None:
    """The last crash that ``lines`` tell of."""
    for index in range(len(lines) - 1, -1, -1):
        fatal = _FATAL.search(lines[index])
        text = (fatal["what"] if fatal else lines[index].strip())[: _DETAIL + 1]
        if len(text) > _DETAIL and not fatal:
            continue
        signal = next((signal for words, signal in _DEATHS if words.search(text)), None)
        if signal is None and fatal:
            signal = "SIGABRT"  # how Python ends itself for a fatal error
        if signal is not None:
            return Crash(signal, clean(text, _DETAIL), _dumped(lines, index))
    return None


_UNCAUGHT = re.compile(
    r"uncaught exception of type (?:\w+::)*\w+: (?P<message>\S.*)|^\s*what\(\): +(?P<what>\S.*)", re.MULTILINE
)


def uncaught_in(lines: Sequence[str]) -> LoneException | None:
    """The exception of C++ that ended a process, with the one that Python makes of its kind."""
    for index in range(len(lines) - 1, -1, -1):
        found = _UNCAUGHT.search(lines[index][:2000])
        if found:
            return LoneException(index, "RuntimeError", found["message"] or found["what"])
    return None


def _dumped(lines: Sequence[str], near: int) -> tuple[Frame, ...]:
    """The frames of the current thread in a dump of faulthandler, which stands before or after ``near``."""
    dumps = ((at, patterns.DUMP.match(line)) for at, line in enumerate(lines))
    starts = [at for at, dump in dumps if dump is not None and dump["current"]]
    if not starts:
        return ()
    start = min(starts, key=lambda at: abs(at - near))
    frames = []
    for line in lines[start + 1 :]:
        frame = patterns.FRAME.match(line)
        if frame is None:
            break
        number = int(frame["line"]) if frame["line"].isdigit() else None
        frames.append(Frame(clean(frame["file"], 1000), number, clean((frame["function"] or "").strip(), 500)))
    return tuple(reversed(frames))


# -- an installer ----------------------------------------------------------------------------------

_QUOTED = r"(?P<requirement>(?P<package>[\w.-]+))"
_PACKAGE = r"(?P<requirement>(?P<package>[A-Za-z0-9][\w.-]*)[^\s;()]*)"
_COMPLAINTS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("pip", "no-release", re.compile(rf"No matching distribution found for {_PACKAGE}")),
    ("pip", "no-release", re.compile(rf"Could not find a version that satisfies the requirement {_PACKAGE}")),
    (
        "pip",
        "python-version",
        re.compile(rf"Package '{_QUOTED}' requires a different Python"),
    ),
    ("pip", "conflict", re.compile(rf"Cannot install {_PACKAGE}.* because these package versions have conflicting")),
    ("pip", "conflict", re.compile(r"ERROR: ResolutionImpossible")),
    (
        "pip",
        "build-failed",
        re.compile(rf"Failed (?:building wheel for|to build(?: installable wheels for)?) ['`]?{_PACKAGE}"),
    ),
    ("pip", "build-failed", re.compile(r"error: subprocess-exited-with-error")),
    ("uv", "no-release", re.compile(rf"Because {_PACKAGE} was not found in the package registry")),
    (
        "uv",
        "python-version",
        re.compile(
            r"the (?:current|requested) Python version .{0,40}does not satisfy .{0,80} and "
            rf"{_PACKAGE} depends on Python"
        ),
    ),
    ("uv", "conflict", re.compile(r"No solution found when resolving")),
    ("uv", "build-failed", re.compile(rf"Failed to (?:download and )?build `{_PACKAGE}`")),
)
_MARKS = re.compile(r"ERROR|error|×|╰|Because|No solution|Failed|Cannot install|No matching|requires a different")


#: In the list of what pip found to conflict: who asks, and for what.
_DEPENDS = re.compile(rf"^\s+\S+ \S+ depends on {_PACKAGE}")


def _only_wanted(lines: Sequence[str]) -> tuple[str, str] | None:
    """What all of the conflicting requirements ask for, package and requirement, where that is one and the same."""
    found = [match for line in lines if (match := _DEPENDS.search(line[:2000]))]
    packages = {match["package"] for match in found}
    return (found[0]["package"], found[0]["requirement"]) if len(packages) == 1 else None


def complaints_in(lines: Sequence[str]) -> Iterator[Complaint]:
    """What installers complain of in ``lines``, each kind of complaint about a package once.

    A conflict is about what all releases of the asked-for package want and none can have, where that is one thing.
    """
    seen = set()
    wanted = _only_wanted(lines)
    for index, line in enumerate(lines):
        if not _MARKS.search(line[:2000]):
            continue
        # uv breaks its sentences at the width of the terminal.
        text = " ".join(part.strip()[:500] for part in lines[index : index + 4]) if "Because" in line else line[:2000]
        for tool, what, words in _COMPLAINTS:
            found = words.search(text)
            if found is None:
                continue
            parts = found.groupdict()
            package = (parts.get("package") or "").rstrip(".,'`") or None
            requirement = (parts.get("requirement") or "").rstrip(".,'`") or None
            if what == "conflict" and wanted is not None:
                package, requirement = wanted
            if (what, package) not in seen:
                seen.add((what, package))
                yield Complaint(tool, what, clean(line.strip(), _DETAIL), package, requirement, index + 1)
            break
