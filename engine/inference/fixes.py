"""Fixes as data, from the templates of a rule. Nothing is applied here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact, Fix
from mlx_diagnose.engine.rulebase.rule import FixTemplate, PatchTemplate
from mlx_diagnose.engine.rulebase.shell_text import shell_text
from mlx_diagnose.engine.rulebase.template import Resolver

NOT_TRIED = "not tried"
MANUAL = "it changes something outside this model's files, so it cannot be tried here"
BY_HAND = "the rule asks for a person's judgement"


class _Unusable(Exception):
    """A patch that cannot be written; the message says why."""


def make_fixes(
    templates: Sequence[FixTemplate], resolvers: Sequence[Resolver], memory: WorkingMemory
) -> tuple[Fix, ...]:
    """The fixes of a finding. Of its merged activations those with the same text are one, their patches joined.

    A fix is ``unverified`` (not tried), or ``manual`` with the reason. Ids are empty.
    """
    found: list[Fix] = []
    for template in templates:
        groups: dict[tuple[str, str | None], list[Resolver]] = {}
        for resolve in resolvers:
            command = shell_text(template.command, resolve) if template.command else None
            groups.setdefault((template.title.text(resolve), command), []).append(resolve)
        found.extend(_fix(template, title, command, members, memory) for (title, command), members in groups.items())
    return tuple(found)


def _fix(
    template: FixTemplate, title: str, command: str | None, resolvers: Sequence[Resolver], memory: WorkingMemory
) -> Fix:
    reason = template.reason.text(resolvers[0]) if template.reason else None
    patch: list[Mapping[str, Any]] = []
    files: list[str] = []
    unusable: str | None = None
    if template.command and command is None:
        unusable = "the command could not be written: what it names is not known"
    for resolve in resolvers:
        files.extend(name for item in template.files if (name := item.text_or_none(resolve)) and name not in files)
    try:
        patch = _joined([_operation(item, resolve, memory) for resolve in resolvers for item in template.patch])
    except _Unusable as problem:
        unusable = str(problem)
    weight_map: tuple[Mapping[str, Any], ...] = ()
    environment: dict[str, str] = {}
    copies: dict[str, str] = {}
    if unusable is None:
        try:
            weight_map = _weight_map(template, resolvers, memory)
            environment = _environment(template, resolvers[0])
            copies, doubt = _copies(template, resolvers[0], memory)
            reason = doubt or reason
        except _Unusable as problem:
            unusable = str(problem)
    manual = template.manual or unusable is not None
    default = unusable or (MANUAL if template.manual else NOT_TRIED)
    return Fix(
        id="",
        kind=template.kind,
        title=title,
        applicability="manual" if manual else "unverified",
        reason=default if unusable is not None else reason or default,
        command=command,
        config_patch=tuple(patch) if unusable is None else (),
        files=tuple(files),
        weight_map=weight_map,
        shim=template.shim,
        environment=environment,
        copies=copies,
    )


def _weight_map(
    template: FixTemplate, resolvers: Sequence[Resolver], memory: WorkingMemory
) -> tuple[Mapping[str, Any], ...]:
    """The operations that trials found for the subjects, each once."""
    if template.weight_map_for is None:
        return ()
    found: list[Mapping[str, Any]] = []
    for resolve in resolvers:
        subject = template.weight_map_for.text_or_none(resolve)
        for repair in memory.of("weight_repair", subject=subject):
            found.extend(item for item in json.loads(str(repair["operations"])) if item not in found)
    if not found:
        raise _Unusable("no change of the stored tensors was found that helps")
    return tuple(found)


def _copies(template: FixTemplate, resolve: Resolver, memory: WorkingMemory) -> tuple[dict[str, str], str | None]:
    """The files that were found for the subject; none, and why, where it is not sure that they belong there."""
    if template.copies_for is None:
        return {}, None
    subject = template.copies_for.text_or_none(resolve)
    source = memory.one("companion_source", subject=subject)
    if source is None:
        raise _Unusable("no copy of it was found on this machine")
    if source["doubt"] is not None:
        return {}, str(source["doubt"])
    return json.loads(str(source["copies"])), None


def _environment(template: FixTemplate, resolve: Resolver) -> dict[str, str]:
    found = {}
    for name, value in template.environment:
        text = value.text_or_none(resolve)
        if text is None:
            raise _Unusable(f"the value for {name} is not known")
        found[name] = text
    return found


def _joined(operations: Sequence[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """The operations, each once, a section before what it holds, removals last: others may take something from there.

    Two values for one place are a contradiction.
    """
    joined: list[Mapping[str, Any]] = []
    for operation in sorted(operations, key=_place_in_order):
        if operation in joined:
            continue
        if any(known["op"] == operation["op"] and known["path"] == operation["path"] for known in joined):
            raise _Unusable(f"ambiguous: {operation['path']} would get several values")
        joined.append(operation)
    return joined


def _place_in_order(operation: Mapping[str, Any]) -> tuple[bool, int]:
    return operation["op"] == "remove", operation["path"].count("/")


def _operation(template: PatchTemplate, resolve: Resolver, memory: WorkingMemory) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "op": template.op,
        "path": _place(template.key.text_or_none(resolve), template.pointers, memory),
    }
    if template.source is not None:
        operation["from"] = _place(template.source.text_or_none(resolve), template.pointers, memory)
    if template.value is not None:
        operation["value"] = template.value[0]
    elif template.text is not None:
        text = template.text.text_or_none(resolve)
        if text is None:
            raise _Unusable(f"the value for {operation['path']} is not known")
        operation["value"] = text
    elif template.json is not None:
        operation["value"] = _json(template.json.text_or_none(resolve), operation["path"])
    return operation


def _json(text: str | None, path: str) -> Any:
    if text is None:
        raise _Unusable(f"the value for {path} is not known")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _Unusable(f"the value for {path} is not JSON: {text!r}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _place(text: str | None, is_pointer: bool, memory: WorkingMemory) -> str:
    """A JSON pointer (RFC 6901) for a dotted path; a pointer is taken as it is."""
    if text is None:
        raise _Unusable("the config path to change is not known")
    if is_pointer:
        if text and not text.startswith("/"):
            raise _Unusable(f"{text!r} is not a JSON pointer")
        return text
    return pointer(text, memory)


def pointer(path: str, memory: WorkingMemory) -> str:
    """The JSON pointer of a dotted config path.

    A key that contains dots looks like nesting; the ``config_key`` facts, which know parent
    and name, tell them apart. What they do not know (a key to be added) is split at dots.
    """
    if path == "":
        return ""
    known = memory.of("config_key", path=path)
    if known:
        return _known_pointer(known[0], memory)
    parent = path.rpartition(".")[0]
    while parent:
        section = memory.of("config_key", path=parent)
        if section:
            rest = path[len(parent) + 1 :].split(".")
            return "/".join([_known_pointer(section[0], memory), *map(escaped, rest)])
        parent = parent.rpartition(".")[0]
    return "".join(f"/{escaped(part)}" for part in path.split("."))


def _known_pointer(key: Fact, memory: WorkingMemory) -> str:
    parent, name = str(key["parent"]), str(key["name"])
    return f"{pointer(parent, memory) if parent else ''}/{escaped(name)}"


def escaped(token: str) -> str:
    """A reference token of RFC 6901: ``~`` and ``/`` escaped."""
    return token.replace("~", "~0").replace("/", "~1")
