"""The published failure classes, by area."""

from __future__ import annotations

from collections.abc import Mapping

#: Area to its classes. Names do not change within a version of the report; some may be added.
AREAS: Mapping[str, tuple[str, ...]] = {
    "hub": (
        "not-found",
        "gated",
        "unauthorized",
        "rate-limited",
        "unavailable",
        "offline-uncached",
        "incomplete-cache",
        "corrupt-cache",
        "path-as-repo",
        "companion-unavailable",
    ),
    "config": (
        "absent",
        "unreadable",
        "missing-key",
        "unknown-key",
        "renamed-key",
        "wrong-type",
        "value-mismatch",
        "missing-section",
        "wrong-default",
    ),
    "architecture": ("unsupported", "undeclared", "misresolved", "wrong-category"),
    "dependency": ("missing-module", "version-conflict", "native-library", "backend", "removed-api", "packaging"),
    "component": ("missing", "incompatible", "swallowed-failure"),
    "weights": (
        "absent",
        "unsupported-format",
        "incomplete",
        "corrupt",
        "lfs-pointer",
        "missing",
        "unexpected",
        "renamed",
        "layout",
        "shape",
        "dtype",
    ),
    "quantization": ("undeclared", "mismatch", "metadata-dropped", "unsupported"),
    "memory": ("insufficient", "slow-init"),
    "code": ("init-error", "import-time-network", "circular-import", "threading"),
}

UNKNOWN = "unknown"

#: Every class by full name (``config/missing-key``), ``unknown`` last.
FAILURE_CLASSES: tuple[str, ...] = (*(f"{area}/{name}" for area, names in AREAS.items() for name in names), UNKNOWN)


def covers(pattern: str, failure_class: str) -> bool:
    """Whether ``pattern`` (a class, ``area/*`` or ``*``) names ``failure_class``."""
    return pattern in (failure_class, "*") or (pattern.endswith("/*") and failure_class.startswith(pattern[:-1]))
