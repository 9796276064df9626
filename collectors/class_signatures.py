"""The signatures of a family's classes as their source shows them: what each takes, and how it takes a dict.

The same document as ``probes/signature.py`` makes of the living classes, so that both can be compared.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mlx_diagnose.collectors.config_flow import Flow
from mlx_diagnose.collectors.config_values import Instance, Section, Take, Value
from mlx_diagnose.collectors.source_world import Class, Module, Parameter, World, signature
from mlx_diagnose.collectors.syntax import walk

#: What makes a model without the loader of a category: codecs have no ``Model``.
_MAKERS = ("from_pretrained", "from_config")


def signatures(
    world: World, family: Module, modules: Iterable[Module], followed: Iterable[Class]
) -> list[dict[str, Any]]:
    """A signature of every model class, of ``ModelConfig``, and of what of ``modules`` or ``followed`` looks like one.

    Shape of each::

        {"class_name", "module", "role": "model", "config" or "nested", "dataclass", "accepts_any",
         "file", "line", "parameters": [{"name", "required", "type", "default", "nested"}],
         "takes_dict": {"method", "unknown_keys", "keys": [name], "nests": {key: class}} or None}

    ``method`` is from_dict or the like, else constructor; ``unknown_keys`` dropped, rejected,
    accepted or None where it cannot be told; ``keys`` are the keys that it takes or reads.
    """
    model, config = world.lookup(family, "Model"), world.lookup(family, "ModelConfig")
    named = [(model, "model"), (config, "config")]
    chosen = {id(cls): (cls, role) for cls, role in named if isinstance(cls, Class)}
    for cls in (*_classes_of(world, modules), *followed):
        if cls.is_config:
            chosen.setdefault(id(cls), (cls, "nested"))
        elif any(name in cls.own_methods for name in _MAKERS):
            chosen.setdefault(id(cls), (cls, "model"))
    return [_signature(world, cls, role) for cls, role in chosen.values()]


def _classes_of(world: World, modules: Iterable[Module]) -> Iterator[Class]:
    for module in modules:
        for name in module.names:
            found = world.lookup(module, name)
            if isinstance(found, Class):
                yield found


def _signature(world: World, cls: Class, role: str) -> dict[str, Any]:
    return {
        "class_name": cls.name,
        "module": cls.module.name,
        "role": role,
        "dataclass": cls.is_dataclass and cls.initialiser is None,
        "accepts_any": cls.accepts_any,
        "file": str(cls.module.file),
        "line": cls.node.lineno,
        "parameters": [
            {
                "name": parameter.name,
                "required": parameter.required,
                "type": _type(world, parameter),
                "default": parameter.default,
                "nested": nested.name if (nested := world.nested_class(parameter)) and nested.is_config else None,
            }
            for parameter in _parameters(world, cls)
        ],
        "takes_dict": _takes_dict(world, cls) if cls.is_config else None,
    }


def _parameters(world: World, cls: Class) -> list[Parameter]:
    return signature(cls.maker, world) if cls.maker is not None else cls.parameters


def _type(world: World, parameter: Parameter) -> str | None:
    """The annotation as text; where Python evaluates it, with the classes' own names in place of aliases."""
    if parameter.annotation is None or parameter.module is None or parameter.type is None:
        return parameter.type
    if "annotations" in parameter.module.names:  # from __future__: it stays as it is written
        return parameter.type
    text = parameter.type
    for node in walk(parameter.annotation):
        if isinstance(node, ast.Name):
            found = world.lookup(parameter.module, node.id)
            if isinstance(found, Class) and found.name != node.id:
                text = re.sub(rf"\b{node.id}\b", found.name, text)
    return text


def _takes_dict(world: World, cls: Class) -> dict[str, Any]:
    flow = Flow(world)
    root = Section(("",))
    method = cls.method("from_dict")
    made: Value = flow.call_method(method, cls, [root], {}) if method is not None else flow.construct(cls, [], {}, root)
    own = [take for take in flow.takes if take.cls is cls and "" in take.paths]
    keys = {path for take in own for taken in take.taken for path in taken.paths}
    keys |= {path for read in flow.reads for path in read.paths}
    unknown_keys = _unknown_keys(own)
    if method is not None and unknown_keys in (None, "dropped"):
        carried = any(isinstance(node, ast.Name) and node.id == "setattr" for node in walk(method.node))
        by_name = not own and isinstance(made, Instance)
        unknown_keys = "accepted" if carried else "dropped" if by_name else unknown_keys
    return {
        "method": "from_dict" if method is not None else "constructor",
        "unknown_keys": unknown_keys,
        "keys": sorted({key.split(".")[0] for key in keys} - {""}),
        "nests": {take.paths[0]: take.cls.name for take in flow.takes if take.paths[0] and "." not in take.paths[0]},
    }


def _unknown_keys(takes: list[Take]) -> str | None:
    """What every way of making the class does; a sure way counts before one that is not."""
    for chosen in ([take for take in takes if not take.conditional], takes):
        ways = {take.unknown_keys for take in chosen}
        if len(ways) == 1:
            return ways.pop()
    return None
