"""``diagnose bisect``: with which releases of mlx-audio a model loads, and between which two that changes.

Each release that is tried gets an environment of its own, with what it and the model's family
declare, as ``diagnose isolate`` makes it, and the model is loaded in it once, lazily. Between a
release that loads and one that fails the middle is tried until two neighbours differ.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.interpreter import Interpreter
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.probes.installed import CATEGORIES
from mlx_diagnose.collectors.symptom import Symptom, symptom_of
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.isolation import IsolationError, Request, make
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.patients import start
from mlx_diagnose.engine.pipeline import locate

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

#: Packages whose versions matter most to a load, besides mlx-audio.
_TOLD = ("mlx", "mlx-lm", "transformers", "huggingface-hub")
#: Releases that are tried at most in search of one that does otherwise than those at the ends.
_SEARCH = 8


@dataclass(frozen=True, slots=True)
class Tried:
    """How the model loads with one release: ``symptom`` is None if it does; ``why_not`` if that cannot be told."""

    release: str
    symptom: Symptom | None = None
    why_not: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def loads(self) -> bool | None:
        return None if self.why_not is not None else self.symptom is None


@dataclass(frozen=True, slots=True)
class Bisection:
    """What came of it. ``releases`` were asked about, ``tried`` of them were tried, both oldest first.

    ``changes`` are pairs of releases, as near as could be found, of which one loads and one does not.
    """

    model: str
    releases: tuple[str, ...]
    tried: tuple[Tried, ...]

    @property
    def changes(self) -> list[tuple[Tried, Tried]]:
        told = [one for one in self.tried if one.loads is not None]
        return [(one, other) for one, other in itertools.pairwise(told) if one.loads != other.loads]

    def between(self, one: Tried, other: Tried) -> tuple[str, ...]:
        """Releases between the two: none of them could be tried."""
        return self.releases[self.releases.index(one.release) + 1 : self.releases.index(other.release)]


def bisect(
    options: Options,
    base: str,
    wanted: SpecifierSet | None,
    extras: tuple[str, ...],
    more: tuple[str, ...],
    folder: Path,
    progress: Callable[[str], None],
) -> Bisection:
    """Bisect the releases in the range ``wanted`` (None: all that may know the model) with environments in ``folder``.

    ``base`` is the Python that they are made of. Raises UsageError for what is no model on this
    machine or no release, IsolationError where the releases cannot be listed.
    """
    located = locate(options)
    if located.directory is None:
        raise UsageError(
            "not-here",
            f"{options.model} is not on this machine.",
            why="A bisection loads it many times.",
            next_step=f"Download it once: hf download {options.model}",
        )
    releases = _within(published(base), wanted, located, options.category)

    def attempt(release: str) -> Tried:
        progress(f"trying mlx-audio {release}")
        with tempfile.TemporaryDirectory(prefix=f"{release}-", dir=folder, ignore_cleanup_errors=True) as scratch:
            return _tried(release, options, located, Request(Path(scratch), base, release, extras, more, None, located))

    return Bisection(options.model, releases, tuple(search(releases, attempt)))


def search(releases: Sequence[str], attempt: Callable[[str], Tried]) -> list[Tried]:
    """What ``attempt`` tells of as few of ``releases`` as it takes, in their order.

    The ends first. While two that were told of differ, and others lie between them, the middle of
    these, the newest such pair first; while all fail, the middle of the widest gap.
    """
    known: dict[int, Tried] = {}

    def ask(position: int) -> None:
        known[position] = attempt(releases[position])

    for positions in (range(len(releases)), range(len(releases) - 1, -1, -1)):
        for position in positions:
            if position not in known:
                ask(position)
            if known[position].loads is not None:
                break
    while True:
        told = sorted(position for position, tried in known.items() if tried.loads is not None)
        gaps = [
            (known[low].loads != known[high].loads, open_)
            for low, high in itertools.pairwise(told)
            if (open_ := [position for position in range(low + 1, high) if position not in known])
        ]
        differing = [open_ for differ, open_ in gaps if differ]
        if differing:
            gap = differing[-1]
        elif gaps and not any(known[position].loads for position in told) and len(known) < _SEARCH:
            gap = max((open_ for _, open_ in gaps), key=len)
        else:
            return [known[position] for position in sorted(known)]
        ask(gap[len(gap) // 2])


def published(base: str) -> list[str]:
    """Releases of mlx-audio that pip finds for the Python ``base``, oldest first; no pre-releases."""
    from packaging.version import InvalidVersion, Version

    arguments = ["pip", "index", "versions", "mlx-audio", "--disable-pip-version-check"]
    pythons = dict.fromkeys([base, getattr(sys, "_base_executable", base), sys.executable])
    commands = [[python, "-m", *arguments] for python in pythons] + [["uv", "tool", "run", *arguments]]
    said = "no pip was found"
    for command in commands:
        with suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
            listed = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
            if listed:
                versions = []
                for text in listed[1].split(","):
                    with suppress(InvalidVersion):
                        versions.append(Version(text.strip()))
                return [str(version) for version in sorted(versions) if not version.is_prerelease]
            said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), said)
    raise IsolationError(
        "no-releases",
        "The releases of mlx-audio cannot be listed.",
        why=f"`pip index versions mlx-audio` says: {said}.".replace("..", "."),
        next_step="See that pip reaches its index, or that PIP_FIND_LINKS names a folder of wheels.",
    )


def _within(
    releases: Sequence[str], wanted: SpecifierSet | None, located: Located, category: str | None
) -> tuple[str, ...]:
    from packaging.version import Version

    if wanted is not None:
        kept = tuple(release for release in releases if wanted.contains(release, prereleases=True))
    else:
        since = _known_since(located, category)
        kept = tuple(release for release in releases if since is None or Version(release) >= Version(since))
    if kept:
        return kept
    raise UsageError(
        "no-such-release",
        f"No release of mlx-audio is in the range {wanted}.",
        why=f"Those that there are: {', '.join(releases)}.",
        next_step="Give another range with --releases, such as '>=0.2,<0.5'.",
    )


def _known_since(located: Located, category: str | None) -> str | None:
    """The first release that has the model's type, where that is known: those before it need not be tried."""
    from packaging.version import Version

    from mlx_diagnose.knowledge_base.data import supported_since

    assert located.directory is not None
    with suppress(OSError, ValueError, AttributeError):
        config = json.loads((located.directory / "config.json").read_text(encoding="utf-8"))
        declared = config.get("model_type") or config.get("architecture")
        if isinstance(declared, str):
            found = [supported_since(declared, name) for name in ([category] if category else CATEGORIES)]
            return min((entry.release for entry in found if entry is not None), key=Version, default=None)
    return None


def _tried(release: str, options: Options, located: Located, request: Request) -> Tried:
    """Make the environment of ``request`` and load the model in it."""
    try:
        made = make(request)
    except IsolationError as error:
        return Tried(release, why_not=f"it cannot be installed: {_last_line(error.why or str(error))}")
    assert located.directory is not None
    patient = Interpreter(str(made.python), f"made for mlx-audio {release}")
    # What the user's PYTHONPATH holds would hide the release.
    with start(options, patient, located, variables={"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}) as process:
        run = LoadRun().take(process.messages())
        ending = process.ending
    packages = {name: made.packages[name] for name in _TOLD if name in made.packages}
    if run.outcome is None and ending is None:
        return Tried(release, why_not="the load was not told to its end", packages=packages)
    if ending is not None and ending.outcome == "timed-out":
        return Tried(release, why_not=f"it took more than {options.timeout:g} s", packages=packages)
    return Tried(release, symptom_of(run, located.directory, ending), None, packages)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)
