"""What sets two bundles apart: what became of the model, its findings, packages and config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlx_diagnose.engine.bundle_files import Bundle
from mlx_diagnose.engine.model import Finding
from mlx_diagnose.engine.report.sanitise import one_line

_SHOWN = 50
_ABSENT = "absent"


def differences(old: Bundle, new: Bundle) -> Iterator[str]:
    """One line a difference, from ``old`` to ``new``; none if there is none that matters."""
    yield from _changed("verdict", {"": old.report.verdict}, {"": new.report.verdict})
    yield from _changed(
        "stage",
        {stage.name: stage.status for stage in old.report.stages},
        {stage.name: stage.status for stage in new.report.stages},
    )
    yield from _findings(old.report.findings, new.report.findings)
    patients = [bundle.report.patient for bundle in (old, new)]
    machines = [{"Python": str(patient.python), "platform": str(patient.platform)} for patient in patients]
    yield from _changed("", machines[0], machines[1])
    yield from _changed("package", patients[0].packages, patients[1].packages)
    yield from _changed("config", dict(_flat(old.config)), dict(_flat(new.config)))
    yield from _changed("file", _sizes(old), _sizes(new))


def _findings(old: Any, new: Any) -> Iterator[str]:
    before, after = ({_key(found): found for found in findings if found.root} for findings in (old, new))
    for key in before.keys() - after.keys():
        yield f"- {_said(before[key])}"
    for key in after.keys() - before.keys():
        yield f"+ {_said(after[key])}"


def _key(found: Finding) -> tuple[str, tuple[str, ...]]:
    return found.rule, tuple(sorted(subject.name for subject in found.subjects))


def _said(found: Finding) -> str:
    return one_line(f"{found.severity} {found.failure_class}: {found.title}")


def _changed(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name, _ABSENT) != new.get(name, _ABSENT)]
    for name in names[:_SHOWN]:
        label = " ".join(part for part in (what, name) if part)
        yield one_line(f"{label}: {old.get(name, _ABSENT)} -> {new.get(name, _ABSENT)}")
    if len(names) > _SHOWN:
        yield f"{what}: {len(names) - _SHOWN} more"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value and path.count(".") < 32:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, json.dumps(value, default=str)[:200]


def _sizes(bundle: Bundle) -> dict[str, str]:
    return {name: f"{size} bytes" for name, size in bundle.files.items()}
