"""What changed between the signatures of two releases, family by family, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from mlx_diagnose.collectors.annotation_types import normalised

Documents: TypeAlias = Mapping[tuple[str, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``name`` is the parameter or key, ``old`` and ``new`` what it was and is, as text.

    ``what`` is family-added, family-removed, class-added, class-removed, parameter-added,
    required-added (a new parameter without a default), parameter-removed, now-required,
    now-optional, default-changed, type-changed, key-accepted, key-no-longer-accepted,
    unknown-keys-changed or loader-changed. ``breaking``: a config that worked may no longer.
    """

    category: str
    family: str
    what: str
    class_name: str | None = None
    name: str | None = None
    old: str | None = None
    new: str | None = None

    @property
    def breaking(self) -> bool:
        """A config that the old release took may be refused, or read another way."""
        if self.what == "unknown-keys-changed":
            return self.new == "rejected"
        if self.what == "type-changed":
            return not _wider(self.old, self.new)
        return self.what in _BREAKING


def _wider(old: str | None, new: str | None) -> bool:
    """Whatever was of the old type is of the new one."""
    before, after = (set((normalised(text) or "Any").split(" | ")) for text in (old, new))
    return before <= after or "Any" in after or before - {"int"} <= after - {"float"} != after


_BREAKING = frozenset(
    (
        *("family-removed", "required-added", "parameter-removed", "now-required"),
        *("default-changed", "key-no-longer-accepted"),
    )
)


def changes(before: Documents, after: Documents) -> Iterator[Change]:
    """Differences from ``before`` to ``after``; each maps category and family to a document."""
    for key in sorted({*before, *after}):
        if key not in before or key not in after:
            yield Change(*key, "family-added" if key in after else "family-removed")
        else:
            yield from _family(key, before[key], after[key])


def _family(key: tuple[str, str], before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old_loader, new_loader = _loader_text(before), _loader_text(after)
    if old_loader != new_loader:
        yield Change(*key, "loader-changed", old=old_loader, new=new_loader)
    old, new = _named(before["classes"]), _named(after["classes"])
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield Change(*key, "class-removed", name)
        elif name not in old:
            yield Change(*key, "class-added", name)
        else:
            yield from _class(key, name, old[name], new[name])


def _loader_text(document: Mapping[str, Any]) -> str | None:
    loader = document.get("loader")
    if not loader:
        return None
    parameters = [
        p["name"] if p["default"] is None else f"{p['name']}={p['default']}" for p in loader["parameters"]
    ] + (["**"] if loader["accepts_any"] else [])
    return f"{loader['function']}({', '.join(parameters)})"


def _named(classes: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Classes by name; of two of one name, by module and name."""
    listed = list(classes)
    often = Counter(cls["class_name"] for cls in listed)
    return {
        cls["class_name"] if often[cls["class_name"]] == 1 else f"{cls['module']}.{cls['class_name']}": cls
        for cls in listed
    }


def _class(
    key: tuple[str, str], class_name: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    old = {parameter["name"]: parameter for parameter in before["parameters"]}
    new = {parameter["name"]: parameter for parameter in after["parameters"]}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield Change(*key, "parameter-removed", class_name, name, old=_text(old[name]))
        elif name not in old:
            what = "required-added" if new[name]["required"] else "parameter-added"
            yield Change(*key, what, class_name, name, new=_text(new[name]))
        else:
            yield from _parameter(key, class_name, old[name], new[name])
    yield from _dict(key, class_name, before["takes_dict"], after["takes_dict"], {*old, *new})


def _parameter(
    key: tuple[str, str], class_name: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[Change]:
    name = old["name"]
    if old["required"] != new["required"]:
        what = "now-required" if new["required"] else "now-optional"
        yield Change(*key, what, class_name, name, _text(old), _text(new))
    elif old["default"] != new["default"]:
        yield Change(*key, "default-changed", class_name, name, old["default"], new["default"])
    if normalised(old["type"]) != normalised(new["type"]):
        yield Change(*key, "type-changed", class_name, name, old["type"], new["type"])


def _dict(
    key: tuple[str, str],
    class_name: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    parameters: set[str],
) -> Iterator[Change]:
    if old is None or new is None:
        return
    if old["unknown_keys"] != new["unknown_keys"]:
        yield Change(*key, "unknown-keys-changed", class_name, None, old["unknown_keys"], new["unknown_keys"])
    # Of parameters themselves it was said above.
    for name in sorted({*old["keys"]} - {*new["keys"]} - parameters):
        yield Change(*key, "key-no-longer-accepted", class_name, name)
    for name in sorted({*new["keys"]} - {*old["keys"]} - parameters):
        yield Change(*key, "key-accepted", class_name, name)


def _text(parameter: Mapping[str, Any]) -> str:
    text = normalised(parameter["type"]) or "any"
    return text if parameter["required"] else f"{text} = {parameter['default'] or '...'}"
