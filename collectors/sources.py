"""A model family's source as a document: which class takes which section of the config, what its code reads of it.

Read from the files of the patient's mlx-audio without running anything, so it works where the
family cannot be imported. :func:`merged` lays over it what the patient's own classes said.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.class_signatures import signatures
from mlx_diagnose.collectors.config_flow import Flow
from mlx_diagnose.collectors.config_values import Take, Use, below
from mlx_diagnose.collectors.model_layers import sizes
from mlx_diagnose.collectors.source_world import Class, Function, Module, Problem, World
from mlx_diagnose.collectors.syntax import walk, without_collection

Document = dict[str, Any]

VERSION = 1
_MAX_FILES = 60
#: ``x["key"]``, ``x.get("key"``, ``getattr(x, "key"``, ``"key" in x``.
_READ = re.compile(
    r"""(?:\[|\.(?:get|pop|setdefault)\(|\b(?:get|has)attr\([^()"',]+,)\s*["'](?P<key>[A-Za-z_]\w*)["']"""
    r"""|["'](?P<member>[A-Za-z_]\w*)["']\s+(?:not\s+)?in\b"""
)


def describe_source(mlx_audio_dir: Path, category: str, family: str, search_path: Sequence[str] = ()) -> Document:
    """The document of ``mlx_audio/<category>/models/<family>``.

    ``search_path`` is the patient's ``sys.path``, for families that build on mlx-lm. Shape::

        {"version": 1, "module": "mlx_audio.tts.models.dia",
         "classes": [{"class_name", "module", "sections": [path, ...], "unknown_keys", "conditional", "explicit",
                      "given": [name], "file", "line",
                      "parameters": [{"name", "paths", "required", "type", "default", "nested"}]}],
         "reads": [{"paths", "required", "reader", "file", "line"}], "loose_reads": [name],
         "signatures": [as in class_signatures], "uses": [{"paths", "class_name", "name", "how", "required",
                      "sure", "declared", "default", "reader", "function", "stage", "file", "line"}],
         "dependencies": [{"relation", "paths", "others", "asserted", "sure", "expression", "reader", "file", "line"}],
         "sizes": [{"tensor", "axis", "paths"}],
         "unreadable": [{"module", "file", "reason", "line", "message"}],
         "reasons": [why something is missing]}

    ``sections`` and ``paths`` list places that may serve, the preferred first; ``default`` is
    JSON text; ``loose_reads`` are keys read by name from something that could not be followed to
    the config. Never raises for what the sources hold.
    """
    name = f"mlx_audio.{category}.models.{family}"
    document: Document = {
        "version": VERSION,
        "module": name,
        "classes": [],
        "reads": [],
        "loose_reads": [],
        "signatures": [],
        "uses": [],
        "sizes": [],
        "dependencies": [],
        "unreadable": [],
        "reasons": [],
    }
    world = World([mlx_audio_dir.parent, *(Path(entry) for entry in search_path if entry)])
    with without_collection():
        _describe(document, world, name)
    return document


def _describe(document: Document, world: World, name: str) -> None:
    module = world.module(name)
    if module is None:
        problem = world.problems.get(name)
        document["unreadable"] = [_problem_json(p) for p in world.problems.values()]
        document["reasons"].append(f"{name}: {problem.message}" if problem else f"{name} was not found")
        return
    flow = Flow(world)
    try:
        flow.follow(module)
    except RecursionError:
        document["reasons"].append("the classes of the family refer to each other too deeply to be followed")
    takes = [*flow.takes, *_nested(world, flow.takes)]
    document["classes"] = _unique(_class_json(world, take) for take in takes)
    document["reads"] = _unique(
        {"paths": list(r.paths), "required": r.required, "reader": r.reader, "file": r.file, "line": r.line}
        for r in flow.reads
    )
    followed = {(r.file, r.line, path.rpartition(".")[2]) for r in flow.reads for path in r.paths}
    document["loose_reads"] = sorted({key for file in _files(module) for key in _loose_reads(file, followed)})
    _look_closer(document, world, module, flow)
    document["unreadable"] = [_problem_json(problem) for problem in world.problems.values()]


def _look_closer(document: Document, world: World, family: Module, flow: Flow) -> None:
    """Add what does not depend on how the config flows: every class, every read, every dependency of the family."""
    modules = list(_modules(world, family))
    reached = [instance.cls for instance in flow.instances.values()]
    document["signatures"] = signatures(world, family, modules, reached)
    try:
        for function in _functions(world, modules, reached):
            flow.look_aside(function)
    except RecursionError:
        document["reasons"].append("the functions of the family call each other too deeply to be followed")
    undeclared = any(use.declared is False for use in flow.uses)
    given = _assigned_from_outside(modules) if undeclared else frozenset()
    document["sizes"] = _unique(
        {"tensor": size.tensor, "axis": size.axis, "paths": list(size.paths)} for size in sizes(flow)
    )
    document["uses"] = _unique(_use_json(use, given) for use in flow.uses)
    document["dependencies"] = _unique(
        {
            "relation": d.relation,
            "paths": list(d.paths),
            "others": list(d.others),
            "asserted": d.asserted,
            "sure": d.sure,
            "expression": d.expression,
            "reader": d.reader,
            "file": d.file,
            "line": d.line,
        }
        for d in flow.dependencies
    )


def _functions(world: World, modules: Sequence[Module], reached: Sequence[Class]) -> Iterator[Function]:
    """Functions and methods of ``modules`` and of the classes ``reached`` elsewhere."""
    seen: set[int] = set()
    for module in modules:
        for name in module.names:
            found = world.lookup(module, name)
            if isinstance(found, Function) and found.module is module:
                yield found
            elif isinstance(found, Class) and found.module is module:
                seen.add(id(found))
                yield from found.own_methods.values()
    for cls in reached:
        if id(cls) not in seen:
            seen.add(id(cls))
            yield from cls.own_methods.values()


def _assigned_from_outside(modules: Sequence[Module]) -> frozenset[str]:
    """Attributes that some code gives to an object that is not ``self``: what a class lacks may come from there."""
    return frozenset(
        node.attr
        for module in modules
        for node in walk(module.tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    )


def _use_json(use: Use, given: frozenset[str]) -> dict[str, Any]:
    read = use.read
    return {
        "paths": list(read.paths),
        "class_name": use.cls.name if use.cls is not None else None,
        "name": use.name,
        "how": read.how,
        "required": read.required,
        "sure": use.sure,
        "declared": use.declared if use.declared is not False or use.name not in given else None,
        "default": read.default,
        "reader": read.reader,
        "function": use.function,
        "stage": use.stage,
        "file": read.file,
        "line": read.line,
    }


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "module": problem.module,
        "file": problem.file,
        "reason": problem.reason,
        "line": problem.line,
        "message": problem.message,
    }


def _unique(items: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        found.setdefault(repr(item), item)
    return list(found.values())


def _nested(world: World, takes: Sequence[Take]) -> Iterator[Take]:
    """Sections that a class declares by annotation only; nothing converts or checks them."""
    taken = {path for take in takes for path in take.paths}
    queue = list(takes)
    while queue:
        take = queue.pop(0)
        for item in take.taken:
            cls = world.nested_class(item.parameter)
            if cls is None or not cls.is_dataclass or not taken.isdisjoint(item.paths):
                continue
            taken.update(item.paths)
            parameters = tuple(
                replace(item, paths=tuple(f"{path}.{p.name}" for path in item.paths), parameter=p)
                for p in cls.parameters
            )
            nested = Take(cls, item.paths, "nested", parameters, frozenset(), True)
            queue.append(nested)
            yield nested


def _class_json(world: World, take: Take) -> dict[str, Any]:
    return {
        "class_name": take.cls.name,
        "module": take.cls.module.name,
        "sections": list(take.paths),
        "unknown_keys": take.unknown_keys,
        "conditional": take.conditional,
        "explicit": take.explicit,
        "given": sorted(take.given),
        "file": str(take.cls.module.file),
        "line": take.cls.node.lineno,
        "parameters": [
            {
                "name": item.parameter.name,
                "paths": list(item.paths),
                "required": item.parameter.required,
                "type": item.parameter.type,
                "default": item.parameter.default,
                "nested": _name(world.nested_class(item.parameter)),
            }
            for item in take.taken
        ],
    }


def _name(cls: Class | None) -> str | None:
    return cls.name if cls is not None else None


def _files(family: Module) -> list[Path]:
    """The files of the family's package, tests left out."""
    if not family.is_package:
        return [family.file]
    folder = family.file.parent
    files = [file for file in sorted(folder.rglob("*.py")) if "test" not in file.relative_to(folder).parts[0]]
    return files[:_MAX_FILES]


def _modules(world: World, family: Module) -> Iterator[Module]:
    for file in _files(family):
        parts = file.relative_to(family.file.parent).with_suffix("").parts if family.is_package else ()
        parts = parts[:-1] if parts[-1:] == ("__init__",) else parts
        module = world.module(".".join([family.name, *parts]))
        if module is not None:
            yield module


def _loose_reads(file: Path, followed: set[tuple[str, int, str]]) -> Iterator[str]:
    """Keys that ``file`` reads by name from something that was not followed to the config."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for match in _READ.finditer(line):
            key = match["key"] or match["member"]
            if (str(file), number, key) not in followed:
                yield key


def merged(document: Document, observed: Mapping[str, Any] | None) -> Document:
    """``document`` with the parameters that the patient's own classes have, where the probe saw them.

    ``observed`` is what ``probes/signature.py`` sent, or None. Its defaults and types are exact;
    parameters that the sources did not show (inherited from elsewhere) are added, and so are
    classes without source.
    """
    if not observed:
        return document
    known = {(c["module"], c["class_name"]): c for c in observed.get("classes", ())}
    classes = []
    for cls in document["classes"]:
        seen = known.get((cls["module"], cls["class_name"]), {})
        classes.append(_overlaid(cls, seen) if seen.get("dataclass") and not cls["explicit"] else cls)
    written = document.get("signatures", [])
    told = {(c["module"], c["class_name"]) for c in written}
    return {
        **document,
        "classes": classes or [_taking_all(cls) for cls in known.values() if cls.get("role") == "config"],
        "signatures": [*written, *({**cls, "takes_dict": None} for key, cls in known.items() if key not in told)],
        "reasons": [*document["reasons"], *observed.get("reasons", ())],
    }


def _taking_all(cls: Mapping[str, Any]) -> dict[str, Any]:
    """What takes the whole config, where only the living class is known: what becomes of other keys is not."""
    parameters = [{**parameter, "paths": [parameter["name"]]} for parameter in cls["parameters"]]
    taking = {"sections": [""], "unknown_keys": "accepted", "conditional": False, "explicit": False, "given": []}
    return {**cls, **taking, "parameters": parameters}


def _overlaid(cls: dict[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    own = {p["name"]: p for p in seen["parameters"]}
    parameters = []
    for parameter in cls["parameters"]:
        exact = own.get(parameter["name"])
        if exact is not None:
            default = exact["default"] if exact["default"] is not None else parameter["default"]
            parameter = {**parameter, "default": None if parameter["required"] else default, "type": exact["type"]}
        parameters.append(parameter)
    present = {parameter["name"] for parameter in parameters} | set(cls["given"])
    for name, exact in own.items():
        if name not in present:
            parameters.append({**exact, "paths": list(below(cls["sections"], name))})
    return {**cls, "parameters": parameters}
