"""``diagnose isolate``: an environment of its own for one mlx-audio, or for one model.

Everything is made below one folder: a virtual environment with the asked-for packages and a
lock of what they came to, a Hugging Face home, a file of variables. Nothing else is written but
the caches of the installer, and what fails half-way is removed again. With a model, what its
family imports and nothing declares is installed as well, as far as sources tell.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_diagnose.collectors.target import Located, cache_directory
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import DiagnoseError, ExitCode, UsageError

#: Rounds of "what is still missing": what was installed may import more.
_ROUNDS = 3
_TOLD_LINES = 6
#: Variables that would let packages or settings of the user in.
_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")


class IsolationError(DiagnoseError):
    """The environment could not be made: exit 3, nothing is known about the model."""

    exit_code = ExitCode.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Request:
    """What to make. ``base`` is the Python that the environment is made of; ``lock`` a file of requirements."""

    folder: Path
    base: str
    release: str | None = None
    extras: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    lock: Path | None = None
    located: Located | None = None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Isolated:
    """What was made, or with ``packages`` empty would be. ``added`` is what the model wanted besides."""

    folder: Path
    python: Path
    tool: str
    requirements: tuple[str, ...]
    environment: Mapping[str, str]
    packages: Mapping[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()


def plan(request: Request) -> Isolated:
    """What :func:`make` would make; nothing is written. Raises UsageError for a folder that is in use."""
    folder = request.folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "folder-in-use",
            f"{folder} is there already.",
            why="An isolated environment is made in a folder of its own, and nothing is overwritten.",
            next_step="Give another folder with --dir, or remove this one.",
        )
    extras = f"[{','.join(request.extras)}]" if request.extras else ""
    pinned = f"=={request.release}" if request.release else ""
    wanted = [f"mlx-audio{extras}{pinned}", *request.more]
    if sys.platform == "linux":
        wanted.append("mlx[cpu]")  # the wheel mlx alone holds no back end there
    if request.release:
        wanted += known_limits(request.release)
    return Isolated(
        folder,
        folder / "env" / "bin" / "python",
        "uv" if shutil.which("uv") else "venv and pip",
        () if request.lock else tuple(wanted),
        _variables(folder, request.offline),
    )


def known_limits(release: str) -> list[str]:
    """Requirements that keep packages below the versions with which this mlx-audio is known not to work."""
    from packaging.specifiers import SpecifierSet

    from mlx_diagnose.knowledge_base.data import release_defects

    found = []
    for defect in release_defects():
        if defect.package != "mlx-audio" or defect.failure_class not in (
            "dependency/removed-api",
            "dependency/version-conflict",
        ):
            continue
        if SpecifierSet(defect.broken).contains(release, prereleases=True):
            for package, bounds in defect.requires.items():
                lower = [item.version for item in SpecifierSet(bounds) if item.operator == ">="]
                found += [f"{package}<{version}" for version in lower]
    return sorted(set(found))


def make(request: Request, progress: Callable[[str], None] = lambda _: None) -> Isolated:
    """Make it. Raises UsageError and IsolationError; in either case nothing is left behind."""
    made = plan(request)
    existed = made.folder.exists()
    try:
        made.folder.mkdir(parents=True, exist_ok=True)
        maker = _Maker(request, made, progress)
        maker.environment()
        maker.install(made.requirements)
        added = maker.install_what_the_model_wants() if request.located is not None else ()
        packages = maker.write()
    except OSError as error:
        _remove(made.folder, existed)
        raise IsolationError(
            "cannot-isolate",
            f"The environment cannot be made in {made.folder}.",
            why=f"Reason: {error.strerror or error}.",
            next_step="Give a folder that can be written with --dir.",
        ) from None
    except BaseException:
        _remove(made.folder, existed)
        raise
    return Isolated(made.folder, made.python, made.tool, made.requirements, made.environment, packages, added)


def _remove(folder: Path, existed: bool) -> None:
    for entry in [*folder.iterdir()] if existed else [folder]:
        shutil.rmtree(entry, ignore_errors=True)


def _variables(folder: Path, offline: bool) -> dict[str, str]:
    """The variables of a process that is to see this environment alone."""
    variables = {
        "HF_HOME": str(folder / "huggingface"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONNOUSERSITE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return {**variables, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if offline else variables


class _Maker:
    """The steps of making an environment."""

    def __init__(self, request: Request, made: Isolated, progress: Callable[[str], None]) -> None:
        self._request = request
        self._made = made
        self._progress = progress
        kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        self._environ = {**kept, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        if request.offline:
            self._environ.update(PIP_NO_INDEX="1", UV_OFFLINE="1")

    def environment(self) -> None:
        """The virtual environment, without packages of the user."""
        self._progress("making a virtual environment")
        target = str(self._made.folder / "env")
        if self._made.tool == "uv":
            self._run(["uv", "venv", "--quiet", "--python", self._request.base, target])
        else:
            self._run([self._request.base, "-m", "venv", target])

    def install(self, requirements: Sequence[str]) -> None:
        """Install ``requirements``, or what the lock of the request lists."""
        given = ["-r", str(self._request.lock)] if self._request.lock and not requirements else list(requirements)
        self._progress(f"installing {' '.join(given)}")
        python = str(self._made.python)
        if self._made.tool == "uv":
            self._run(["uv", "pip", "install", "--quiet", "--python", python, *given])
        else:
            self._run([python, "-m", "pip", "install", "--quiet", *given])

    def install_what_the_model_wants(self) -> tuple[str, ...]:
        """Install what the family of the model imports and is not there; what it came to."""
        assert self._request.located is not None
        added: list[str] = []
        for _ in range(_ROUNDS):
            fresh = [item for item in missing_for(self._request.located, str(self._made.python)) if item not in added]
            if not fresh:
                break
            self.install(fresh)
            added += fresh
        return tuple(added)

    def write(self) -> dict[str, str]:
        """The lock, the variables and the Hugging Face home; the installed packages."""
        from mlx_diagnose.collectors import static_patient
        from mlx_diagnose.collectors.distributions import Installed

        path = static_patient.greeting(str(self._made.python), {})["path"]
        own = [entry for entry in path if entry.startswith(str(self._made.folder))]
        installed = Installed(own)
        packages = {name: found.version for name in sorted(installed.names()) if (found := installed.get(name))}
        versions = {name: version for name, version in packages.items() if version}
        lock = "".join(
            f"{name}=={version}\n" for name, version in versions.items() if name not in ("pip", "setuptools")
        )
        (self._made.folder / "requirements.lock").write_text(lock, encoding="utf-8")
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self._made.environment.items()]
        lines += ["unset PYTHONPATH HF_HUB_CACHE HUGGINGFACE_HUB_CACHE TRANSFORMERS_CACHE"]
        lines += [f". {shlex.quote(str(self._made.folder / 'env' / 'bin' / 'activate'))}"]
        (self._made.folder / "env.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
        hub = self._made.folder / "huggingface" / "hub"
        hub.mkdir(parents=True)
        if self._request.located is not None and self._request.located.source == "hub":
            lend(self._request.located.model, cache_directory(), hub)
        return versions

    def _run(self, command: Sequence[str]) -> None:
        try:
            done = subprocess.run(command, env=self._environ, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise IsolationError(
                "cannot-isolate", f"{command[0]} cannot be started.", why=f"Reason: {error.strerror or error}."
            ) from None
        if done.returncode:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()][-_TOLD_LINES:]
            offline = " It was asked to do without the network." if self._request.offline else ""
            raise IsolationError(
                "installer-failed",
                f"{shlex.join(command[:4])} ... ended with {done.returncode}.{offline}",
                why="\n".join(said) or "It said nothing.",
                next_step="`diagnose --traceback -` explains what an installer says; nothing was left behind.",
            )


def missing_for(located: Located, python: str) -> list[str]:
    """What to install so that the family of a model finds what it imports, by the sources that ``python`` sees."""
    from mlx_diagnose.collectors import static_patient
    from mlx_diagnose.collectors.load import LoadRun
    from mlx_diagnose.engine.examination import Examination, Ledger

    examination = Examination(located, located.directory, WorkingMemory(), Ledger())
    examination.look_at_files()
    hello = static_patient.greeting(python, {})
    found = static_patient.mlx_audio(hello, None, examination.config, located.name)
    run = LoadRun(hello=hello, mlx_audio=found)
    examination.read_imports(run)
    examination.look_at_installation(run)
    absent = examination.memory.of("import_need", present=False, guarded=False)
    return sorted({str(fact["install"]) for fact in absent if fact["when"] in ("import", "use")})


def lend(model: str, cache: Path, hub: Path) -> None:
    """Let the isolated cache have a repository of the user's, so that what is written goes to the isolated one.

    Snapshots are folders of links to the user's files; references are copied.
    """
    name = "models--" + model.replace("/", "--")
    theirs, ours = cache / name, hub / name
    if not (theirs / "snapshots").is_dir():
        return
    for file in theirs.glob("snapshots/**/*"):
        if file.is_file():
            link = ours / file.relative_to(theirs)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
    if (theirs / "refs").is_dir():
        shutil.copytree(theirs / "refs", ours / "refs")
