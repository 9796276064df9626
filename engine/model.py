"""The words everything else is said in: facts, activations, findings, fixes, reports.

This module imports nothing of ours and is imported by all. Every class is a frozen
dataclass: a fact that was collected, a conclusion that was drawn and a fix that was
tried never change afterwards; a later stage makes a new object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

#: The ten stages of mlx-audio's own loader, in its order (``mlx_audio/utils.py::base_load_model``).
STAGES: tuple[str, ...] = (
    "resolve",
    "config",
    "architecture",
    "import",
    "construct",
    "weights",
    "sanitize",
    "quantize",
    "load",
    "post_load",
)

StageStatus: TypeAlias = Literal["passed", "failed", "skipped", "blocked", "not-reached"]
Severity: TypeAlias = Literal["error", "warning", "info"]
Applicability: TypeAlias = Literal["verified", "unverified", "manual"]
Verdict: TypeAlias = Literal["loads", "loads-with-warnings", "fails", "inconclusive"]
CollectorStatus: TypeAlias = Literal["ok", "skipped", "timed-out", "failed"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


def stage_index(stage: str | None) -> int:
    """Position of ``stage`` in loader order; an unknown or absent stage sorts last."""
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a fact was seen.

    ``collector`` is the module that looked; ``file`` and ``line`` the place in a source or
    data file (1-based); ``path`` the dotted config path or the tensor name, where there is one.
    """

    collector: str
    file: str | None = None
    line: int | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One observation: a ``kind`` of :mod:`engine.vocabulary` and its declared fields.

    ``fields`` holds exactly the declared fields of the kind, each of its declared type, or
    None where the field is nullable. ``id`` is unique in a run (``config_key-3``).
    """

    kind: str
    id: str
    fields: Mapping[str, Scalar]
    provenance: Provenance

    def __getitem__(self, name: str) -> Scalar:
        return self.fields[name]


@dataclass(frozen=True, slots=True)
class CollectorOutcome:
    """How one collector ended. ``seconds`` is wall time."""

    name: str
    status: CollectorStatus
    reason: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class ExceptionRecord:
    """The exception that ended a stage, as the patient saw it."""

    type: str
    message: str
    file: str | None = None
    line: int | None = None
    function: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """One of :data:`STAGES`: status, wall seconds and peak resident memory in bytes."""

    name: str
    status: StageStatus
    seconds: float | None = None
    peak_memory: int | None = None
    exception: ExceptionRecord | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """A rule that fired: which facts matched its patterns, and what its variables stood for.

    ``facts`` maps pattern alias to fact id (positive patterns only, in the rule's order);
    ``bindings`` maps variable name to value; ``absent`` names the negated patterns, rendered.
    """

    rule: str
    facts: tuple[tuple[str, str], ...]
    bindings: tuple[tuple[str, Scalar], ...]
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about. ``kind``: config_key, tensor, file, package, module, repo, model_type, component."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Explains:
    """Symptoms that fold under a finding: a failure class (``weights/*`` allowed) and, if given, a subject name."""

    failure_class: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """A prescription as data: what of it is not given plays no part.

    ``config_patch`` is an RFC 6902 patch of config.json; ``weight_map`` operations on the tensors
    (``adapters/weight_operations.py``); ``shim`` the name of a loader shim (``adapters/shims``);
    ``environment`` variables to set for the process that loads the model; ``copies`` files that the model's
    directory lacks, by relative path, with the path of a file on this machine that is taken for each.
    """

    id: str
    kind: str
    title: str
    applicability: Applicability
    reason: str | None = None
    command: str | None = None
    config_patch: tuple[Mapping[str, Any], ...] = ()
    files: tuple[str, ...] = ()
    weight_map: tuple[Mapping[str, Any], ...] = ()
    shim: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A conclusion with its proof (``activation`` and ``evidence``, fact ids).

    ``explains`` names the findings folded under this one once diagnosis has resolved them;
    ``claims`` is what the rule said it explains. ``excerpt`` is the user's own text with a
    caret where there is one (several lines, already aligned).
    """

    id: str
    rule: str
    failure_class: str
    severity: Severity
    confidence: float
    stage: str | None
    title: str
    cause: str
    subjects: tuple[Subject, ...] = ()
    evidence: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    root: bool = True
    explains: tuple[str, ...] = ()
    observed_after: tuple[str, ...] = ()
    claims: tuple[Explains, ...] = ()
    activation: Activation | None = None
    excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is diagnosed. ``path`` is the local directory that the loader would read, if there is one."""

    model: str
    source: Literal["hub", "directory", "bundle"]
    path: str | None
    category: str | None = None
    family: str | None = None
    model_type: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """The interpreter under study, and why it was chosen."""

    executable: str
    chosen_because: str
    python: str | None = None
    platform: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that could not be looked at: ``what`` it is, what it would tell, and the ``rules`` that ask for it."""

    what: str
    tells: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of a mended copy, relative to it: ``how`` (copy, hard-link, symlink, written), ``why`` so, bytes."""

    file: str
    how: str
    why: str
    size: int


@dataclass(frozen=True, slots=True)
class Written:
    """What ``--fix`` wrote. ``path`` is the mended copy, None where there is none, for the ``reason`` given.

    ``loads``: the patient's own loader loaded what was written, or nothing was broken. ``fixes`` are
    the ids of those made; ``commands`` are for the user to run. ``registry`` is the file of the entry that
    the model got in the user's registry.
    """

    path: str | None
    loads: bool
    reason: str | None = None
    fixes: tuple[str, ...] = ()
    files: tuple[WrittenFile, ...] = ()
    commands: tuple[str, ...] = ()
    diff: str | None = None
    registry: str | None = None


#: The way to the hub failed: nothing follows for the model.
_NETWORK_FAILURES = frozenset({"hub/unavailable", "hub/rate-limited"})


def is_cut_off(findings: Iterable[Finding]) -> bool:
    """Whether all that went wrong is that the hub could not be asked."""
    errors = [found.failure_class for found in findings if found.severity == "error" and found.root]
    return bool(errors) and _NETWORK_FAILURES.issuperset(errors)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a run learnt; rendered as text or as the JSON that the contract fixes.

    ``needs`` names what would tell more, where a diagnosis had to do without. ``mends`` are the ids of the
    smallest set of fixes that was found to make the model load, in the order in which they apply; each is
    written on top of the ones before. Empty where none does.
    """

    run_id: str
    saved_at: str | None
    tool_version: str
    target: Target
    patient: Patient
    verdict: Verdict
    stages: Sequence[StageResult]
    findings: Sequence[Finding]
    facts: Sequence[Fact]
    collectors: Sequence[CollectorOutcome]
    timings: Mapping[str, float]
    network: Mapping[str, int] = field(default_factory=lambda: {"requests": 0, "bytes": 0})
    needs: Sequence[Need] = ()
    written: Written | None = None
    mends: Sequence[str] = ()


Usable = Literal["ok", "limited", "not-importable"]


@dataclass(frozen=True, slots=True)
class FamilyState:
    """A family of an installed mlx-audio. ``limited``: it loads, but functions of it miss what ``missing`` names."""

    category: str
    family: str
    state: Usable
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Survey:
    """An environment without a model: its facts, how its families stand, what the rules conclude."""

    tool_version: str
    patient: Patient
    families: Sequence[FamilyState]
    findings: Sequence[Finding]
    facts: Sequence[Fact]
    collectors: Sequence[CollectorOutcome]
    seconds: float

    def of(self, kind: str) -> list[Fact]:
        """The facts of ``kind``."""
        return [fact for fact in self.facts if fact.kind == kind]

    def one(self, kind: str) -> Fact | None:
        """The first of :meth:`of`, or None."""
        return next(iter(self.of(kind)), None)


class ExitCode(int, Enum):
    """Exit codes of the command; their meanings are part of the published contract."""

    LOADS = 0
    FAILURE = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INVALID_RULES = 4
    NO_VERIFIED_FIX = 5
    INTERNAL = 70
    INTERRUPTED = 130


class DiagnoseError(Exception):
    """An error of ours to show a person: what happened, why, whose fault, what to do next.

    ``reference`` is a stable kebab-case name; ``exit_code`` what the command returns.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, reference: str, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.reference = reference
        self.what = what
        self.why = why
        self.next_step = next_step


class UsageError(DiagnoseError):
    """The command line is off: exit 2."""

    exit_code = ExitCode.USAGE


class RuleError(DiagnoseError):
    """Rules, knowledge base or configuration are invalid: exit 4."""

    exit_code = ExitCode.INVALID_RULES
