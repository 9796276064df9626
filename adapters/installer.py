"""The command that installs packages into the patient's environment, for the installer that it has.

Rules say ``pip install ...``; which pip that is, and whether there is one, is read off the
environment's files. Nothing is run.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlx_diagnose.engine.model import Finding, Fix

_UV_OPTIONS = {"--no-cache-dir": "--no-cache"}


def with_exact_commands(findings: Sequence[Finding], executable: str) -> list[Finding]:
    """``findings`` whose fixes name the installer of the environment of ``executable``."""

    def exact(fix: Fix) -> Fix:
        return fix if fix.command is None else replace(fix, command=exact_command(fix.command, executable))

    return [replace(finding, fixes=tuple(map(exact, finding.fixes))) for finding in findings]


def exact_command(command: str, executable: str) -> str:
    """``command`` with its ``pip install`` turned into one for the environment of ``executable``, shell-quoted.

    Any other command, and one of several parts, is left as it is.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if words[:2] != ["pip", "install"] or any(word in ("&&", "||", ";", "|") for word in words):
        return command
    return shlex.join(_installing(words[2:], Path(executable)))


def _installing(arguments: Sequence[str], executable: Path) -> list[str]:
    prefix = executable.parent.parent
    if (prefix / "pipx_metadata.json").is_file():
        return ["pipx", "runpip", prefix.name, "install", *arguments]
    if _has_pip(prefix) or (not (prefix / "pyvenv.cfg").is_file() and not (prefix / "conda-meta").is_dir()):
        return [str(executable), "-m", "pip", "install", *arguments]
    if (prefix / "conda-meta").is_dir():
        return ["conda", "run", "-p", str(prefix), "python", "-m", "pip", "install", *arguments]
    if _made_by_uv(prefix):
        given = [_UV_OPTIONS.get(argument, argument) for argument in arguments]
        return ["uv", "pip", "install", "--python", str(executable), *given]
    return ["pip", "--python", str(executable), "install", *arguments]


def _has_pip(prefix: Path) -> bool:
    return any((site / "pip").is_dir() for site in prefix.glob("lib/python*/site-packages"))


def _made_by_uv(prefix: Path) -> bool:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in lines)
