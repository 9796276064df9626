"""Patches for defects of mlx-audio itself: a unified diff, a regression test, and the text of an issue.

A patch is for the release and the file that it was made from, by version and SHA-256, which stand
in its head; ``git apply`` and ``patch -p1`` take it in the folder that holds ``mlx_audio``. Made again
of a patched file there is nothing to change.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.adapters.codemods import codemod
from mlx_diagnose.adapters.unified_diff import unified_diff
from mlx_diagnose.engine.model import DiagnoseError, ExitCode


class PatchRefused(DiagnoseError):
    """A source cannot be patched: it is not the one that the patch was made for, or cannot be read."""

    exit_code = ExitCode.NO_VERIFIED_FIX


@dataclass(frozen=True, slots=True)
class SourcePatch:
    """``file`` relative to the folder that holds the package; ``old`` and ``new`` its text."""

    codemod: str
    title: str
    version: str
    file: str
    old: str
    new: str

    @property
    def sha256(self) -> str:
        """Of the file that the patch is for."""
        return hashlib.sha256(self.old.encode()).hexdigest()

    @property
    def module(self) -> str:
        """The dotted name of what is patched."""
        return ".".join(Path(self.file).with_suffix("").parts).removesuffix(".__init__")

    @property
    def stem(self) -> str:
        """What files about it are called."""
        return f"{self.codemod}-{Path(self.file).stem}"

    @property
    def diff(self) -> str:
        """The patch with its head."""
        head = [
            f"{self.title}.",
            "",
            f"For mlx-audio {self.version}, {self.file}",
            f"with SHA-256 {self.sha256}.",
            "In the folder that holds mlx_audio (site-packages, or a checkout):",
            f"  patch -p1 < {self.stem}.patch",
            "",
        ]
        return "\n".join(head) + unified_diff(self.old, self.new, self.file)

    def texts(self, seen: str) -> dict[str, str]:
        """The files: patch, regression test, issue. ``seen`` is the failure as the user met it."""
        return {
            f"{self.stem}.patch": self.diff,
            f"test_{self.stem.replace('-', '_')}.py": codemod(self.codemod).regression_test(self.module),
            f"{self.stem}.md": self._issue(seen),
        }

    def _issue(self, seen: str) -> str:
        cause = textwrap.fill(codemod(self.codemod).CAUSE, 100)
        quoted = "\n".join(f"    {line}" for line in seen.splitlines()[:12]) or "    (no message)"
        return (
            f"# {self.title}\n\nmlx-audio {self.version}, `{self.file}`\n\n## What happens\n\n{quoted}\n\n"
            f"## Why\n\n{cause}\n\n## A change that mends it\n\n"
            f"`{self.stem}.patch`, with the regression test `test_{self.stem.replace('-', '_')}.py`, which fails "
            "without it.\n\n"
            f"{_fenced(unified_diff(self.old, self.new, self.file))}\n"
        )


def make_patch(folder: Path, file: str, name: str, version: str, line: int | None = None) -> SourcePatch | None:
    """The patch that the codemod ``name`` makes of ``file`` in ``folder``; None where there is nothing to change.

    Raises PatchRefused where the file is not there or is no Python that can be read.
    """
    from libcst import ParserSyntaxError

    try:
        old = (folder / file).read_bytes().decode("utf-8")
        new = codemod(name).transform(old, line)
    except (OSError, UnicodeDecodeError, ParserSyntaxError, RecursionError) as error:
        raise PatchRefused(
            "source-not-patched",
            f"{file} of mlx-audio cannot be patched.",
            why=f"Reason: {str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            next_step="Install mlx-audio again if its files were changed.",
        ) from None
    return None if new == old else SourcePatch(name, codemod(name).TITLE, version, file, old, new)


def apply_to(folder: Path, patch: SourcePatch) -> None:
    """Write the patched file into a copy of the package. Raises PatchRefused unless the file is the patch's."""
    path = folder / patch.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != patch.sha256:
        raise PatchRefused(
            "source-differs",
            f"{patch.file} is not the file that the patch was made for.",
            why=f"It is for mlx-audio {patch.version}, with SHA-256 {patch.sha256}.",
            next_step="Make the patch again for the release that is installed.",
        )
    path.unlink()  # it may be a link to the original
    path.write_text(patch.new, encoding="utf-8", newline="")


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}diff\n{text}{fence}"
