"""Loading rule files into a rule base."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

from mlx_diagnose.engine.rulebase.predicates import version_in
from mlx_diagnose.engine.rulebase.problems import InvalidRules, Problem
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.rule_reader import read_rule
from mlx_diagnose.engine.rulebase.sources import BUILT_IN, RuleFile, RuleSource
from mlx_diagnose.engine.rulebase.strata import check_strata

EntryStatus = Literal["active", "replaced", "disabled"]


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A rule as it was found: where, and whether it counts. ``by`` is the file that replaced or disabled it."""

    id: str
    source: str
    file: str
    status: EntryStatus
    rule: Rule | None = None
    by: str | None = None


@dataclass(frozen=True)
class RuleBase:
    """The rules in force (by id), and every entry that was read, in order of search."""

    rules: tuple[Rule, ...]
    entries: tuple[RuleEntry, ...] = ()

    @cached_property
    def by_id(self) -> dict[str, Rule]:
        """The rules in force by id."""
        return {rule.id: rule for rule in self.rules}

    def applicable(
        self, *, category: str | None = None, family: str | None = None, mlx_audio: str | None = None
    ) -> tuple[Rule, ...]:
        """Rules for this model; what is not known (None) leaves no rule out."""
        return tuple(rule for rule in self.rules if _applies(rule, category, family, mlx_audio))


def _applies(rule: Rule, category: str | None, family: str | None, mlx_audio: str | None) -> bool:
    to = rule.applies_to
    if category is not None and to.categories and category not in to.categories:
        return False
    if family is not None and not any(fnmatchcase(family, pattern) for pattern in to.families):
        return False
    return mlx_audio is None or to.mlx_audio is None or _version_fits(mlx_audio, to.mlx_audio)


def _version_fits(version: str, wanted: str) -> bool:
    """A version that cannot be read leaves no rule out."""
    return not version[:1].isdigit() or version_in(version, wanted)


def read_file(file: RuleFile, *, with_cases: bool = True) -> tuple[Rule | str | None, list[Problem]]:
    """The rule in ``file`` (or the id it disables), and its problems."""
    try:
        content = file.content.read_bytes()
    except OSError as error:
        return None, [Problem(file.path, 1, 1, f"cannot be read: {error.strerror or error}")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, [Problem(file.path, line, 1, "is not UTF-8 text", "Save the file as UTF-8.")]
    return read_rule(text, file.path, file.stem, with_cases=with_cases)


def load_rules(sources: Iterable[RuleSource], *, with_cases: bool = True) -> RuleBase:
    """All rules of ``sources``; a later rule of an id replaces, or disables, an earlier one.

    ``with_cases=False`` leaves the cases of the built-in rules, which were tested before they
    were shipped, unread: it nearly halves the time. Raises :class:`InvalidRules` with every
    problem of every file, and for rules that depend on the absence of what depends on themselves.
    """
    entries: dict[str, list[RuleEntry]] = {}
    problems: list[Problem] = []
    for source in sources:
        here: dict[str, str] = {}
        for file in source.files():
            found, wrong = read_file(file, with_cases=with_cases or source.name != BUILT_IN)
            problems.extend(wrong)
            if found is None:
                continue
            identifier = found if isinstance(found, str) else found.id
            if identifier in here:
                problems.append(Problem(file.path, 1, 1, f"rule {identifier!r} stands in {here[identifier]} already"))
                continue
            here[identifier] = file.path
            _enter(entries, identifier, source.name, file.path, None if isinstance(found, str) else found)
    flat = [entry for history in entries.values() for entry in history]
    rules = tuple(entry.rule for entry in sorted(flat, key=lambda e: e.id) if entry.status == "active" and entry.rule)
    if not problems:
        problems.extend(check_strata(rules))
    if problems:
        raise InvalidRules(sorted(problems))
    return RuleBase(rules, tuple(flat))


def rule_base(rules: Sequence[Rule]) -> RuleBase:
    """A rule base of these rules alone; raises :class:`InvalidRules` on cyclic negation."""
    problems = check_strata(rules)
    if problems:
        raise InvalidRules(problems)
    return RuleBase(tuple(sorted(rules, key=lambda rule: rule.id)))


def _enter(entries: dict[str, list[RuleEntry]], identifier: str, source: str, file: str, rule: Rule | None) -> None:
    history = entries.setdefault(identifier, [])
    status: EntryStatus = "replaced" if rule else "disabled"
    history[:] = [
        RuleEntry(e.id, e.source, e.file, status if e.status == "active" else e.status, e.rule, e.by or file)
        for e in history
    ]
    history.append(RuleEntry(identifier, source, file, "active" if rule else "disabled", rule))
