"""What is wrong with a rule file: where, what, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlx_diagnose.engine.model import RuleError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One defect of a file. ``line`` and ``column`` are 1-based; ``hint`` is a next step or empty."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text}. {self.hint}" if self.hint else text


class InvalidRules(RuleError):
    """Rule files that cannot be used, with every problem found in them (exit 4)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        files = sorted({problem.file for problem in problems})
        named = files[0] if len(files) == 1 else f"{len(files)} rule files"
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(
            "invalid-rules",
            f"{named}: {count}",
            why="\n".join(str(problem) for problem in problems),
            next_step="Correct the files, or leave them out; `diagnose rules test FILE` checks one.",
        )
        self.problems = tuple(problems)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """``Did you mean 'x'?`` for the nearest of ``candidates``, or an empty text."""
    from rapidfuzz import fuzz, process, utils

    found = process.extractOne(
        word, list(candidates), scorer=fuzz.ratio, processor=utils.default_process, score_cutoff=60
    )
    return f"Did you mean {found[0]!r}?" if found else ""


def one_of(candidates: Iterable[str]) -> str:
    """The candidates as a hint: ``One of: a, b, c.``"""
    return f"One of: {', '.join(candidates)}."
