"""A rule as data: what stands in a rule file, parsed and checked.

``when`` is expanded: each of :attr:`Rule.alternatives` is a plain conjunction of patterns
that must match and patterns that must not, so nothing behind this module knows ``any-of``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlx_diagnose.engine.model import Scalar, Severity
from mlx_diagnose.engine.rulebase.predicates import FieldTest
from mlx_diagnose.engine.rulebase.template import Template

Maturity = Literal["sandbox", "stable", "deprecated"]

MATURITIES: tuple[Maturity, ...] = ("sandbox", "stable", "deprecated")
SUBJECT_KINDS = ("config_key", "tensor", "file", "package", "module", "repo", "model_type", "component")
FIX_KINDS = (
    "config-patch",
    "weight-map",
    "quantization",
    "package",
    "model-choice",
    "environment",
    "hub-action",
    "loader-shim",
    "source-patch",
    "companion",
)
#: Fixes that act outside this machine or choose another model: nothing here can try them, but a copy from here.
MANUAL_FIX_KINDS = frozenset({"hub-action", "model-choice", "companion"})
PATCH_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A fact of ``kind`` whose fields pass ``tests``; ``binds`` pairs a field with a variable.

    ``alias`` is the name texts use for the matched fact: the one given with ``as``, else the
    kind. ``position`` tells two patterns of a rule apart (order in the file, any-of included).
    """

    kind: str
    alias: str
    tests: tuple[FieldTest, ...]
    binds: tuple[tuple[str, str], ...]
    position: int
    line: int

    def __str__(self) -> str:
        parts = [*map(str, self.tests), *(f"{field}: ${variable}" for field, variable in self.binds)]
        return f"{self.kind}({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Conjunction:
    """``positive`` patterns that must all match, ``negative`` ones that must not."""

    positive: tuple[Pattern, ...]
    negative: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class AppliesTo:
    """Where a rule holds: categories, family globs, a range of mlx-audio versions (None: any)."""

    categories: tuple[str, ...] = ()
    families: tuple[str, ...] = ("*",)
    mlx_audio: str | None = None


@dataclass(frozen=True, slots=True)
class SubjectTemplate:
    kind: str
    name: Template


@dataclass(frozen=True, slots=True)
class ExplainsTemplate:
    failure_class: str
    subject: Template | None


@dataclass(frozen=True, slots=True)
class PatchTemplate:
    """One RFC 6902 operation. Places are dotted config paths, or JSON pointers where ``pointers``.

    The value is ``json`` (JSON text), ``text`` (a string), or ``value`` in a tuple (a constant).
    """

    op: str
    key: Template
    source: Template | None
    pointers: bool
    json: Template | None = None
    text: Template | None = None
    value: tuple[Any] | None = None


@dataclass(frozen=True, slots=True)
class FixTemplate:
    """A fix to be made. ``weight_map_for`` names the subject of a ``weight_repair`` fact, whose operations are
    taken; ``shim`` a loader shim; ``environment`` pairs variables with their values;
    ``copies_for`` names the subject of a ``companion_source`` fact, whose files are taken.
    """

    kind: str
    title: Template
    patch: tuple[PatchTemplate, ...]
    command: Template | None
    files: tuple[Template, ...]
    manual: bool
    reason: Template | None
    weight_map_for: Template | None = None
    shim: str | None = None
    environment: tuple[tuple[str, Template], ...] = ()
    copies_for: Template | None = None


@dataclass(frozen=True, slots=True)
class FindingTemplate:
    cause: Template
    title: Template | None
    stage: Template | None
    confidence: float
    subjects: tuple[SubjectTemplate, ...]
    one_for: tuple[Template, ...] | None
    fixes: tuple[FixTemplate, ...]


@dataclass(frozen=True, slots=True)
class DeriveTemplate:
    """A fact to assert; a field that is not given is null, empty, 0 or false."""

    kind: str
    fields: tuple[tuple[str, Template | Scalar], ...]


@dataclass(frozen=True, slots=True)
class CaseFact:
    kind: str
    fields: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a case expects; None or empty: not asked. ``facts`` are for rules that derive."""

    findings: int | None = None
    subjects: tuple[str, ...] | None = None
    cause_contains: tuple[str, ...] = ()
    title_contains: tuple[str, ...] = ()
    fixes: int | None = None
    stage: str | None = None
    facts: tuple[CaseFact, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A set of facts on which the rule must fire (``fires``) or stay silent."""

    name: str
    facts: tuple[CaseFact, ...]
    fires: bool
    expect: Expectation
    line: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Either ``finding`` or ``derive`` is set. ``file`` is where it was read from."""

    id: str
    title: str
    failure_class: str | None
    severity: Severity
    maturity: Maturity
    since: str
    applies_to: AppliesTo
    alternatives: tuple[Conjunction, ...]
    finding: FindingTemplate | None
    derive: DeriveTemplate | None
    explains: tuple[ExplainsTemplate, ...]
    references: tuple[str, ...]
    valid: tuple[Case, ...]
    invalid: tuple[Case, ...]
    file: str
    notes: str | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases, those that must fire first."""
        return self.invalid + self.valid

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fact the rule looks at, sorted."""
        return tuple(
            sorted({p.kind for c in self.alternatives for p in (*c.positive, *c.negative)}),
        )
