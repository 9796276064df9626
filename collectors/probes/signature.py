"""The config classes of a model family, as the patient's own Python knows them.

Standard library only; reports reasons instead of raising.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import typing
from typing import Any, Dict, Iterator, List, Optional, Set

VERSION = 2
_MAX_CLASSES = 300
_CONFIG_NAME = re.compile(r"(Config|Configuration|Args|Arguments|Params|Parameters|HParams|Settings)$")


def describe(model_module: Any) -> Dict[str, Any]:
    """The family's models, and the classes of its modules that look like configuration, with their parameters.

    Shape::

        {"version": 2, "module": name, "file": path of the module,
         "classes": [{"class_name", "module", "role": "model", "config" or "nested", "dataclass", "accepts_any",
                      "file", "line", "parameters": [{"name", "required", "type", "default", "nested"}]}],
         "reasons": [why something is missing]}

    ``role`` config is the family's ModelConfig; ``default`` JSON text, None where there is none or
    it is not JSON; ``nested`` the name of the config class that a parameter is annotated with.
    """
    name = str(getattr(model_module, "__name__", ""))
    file = getattr(model_module, "__file__", None)
    document: Dict[str, Any] = {"version": VERSION, "module": name, "file": file, "classes": [], "reasons": []}
    seen: Set[type] = set()
    roles = {}
    for attribute, role in (("ModelConfig", "config"), ("Model", "model")):
        # A lazy ``__getattr__`` of the module may raise whatever it likes.
        try:
            found = getattr(model_module, attribute, None)
        except BaseException as error:
            document["reasons"].append("%s.%s: %s: %s" % (name, attribute, type(error).__name__, error))
            continue
        if isinstance(found, type):
            roles[found] = role
    for cls in [*roles, *_classes(name, model_module)]:
        if cls in seen or len(seen) >= _MAX_CLASSES:
            continue
        seen.add(cls)
        try:
            role = roles.get(cls) or ("nested" if _is_config(cls) else "model")
            document["classes"].append(_class(cls, role))
        except BaseException as error:
            document["reasons"].append("%s: %s: %s" % (_name(cls), type(error).__name__, error))
    return document


def _classes(name: str, model_module: Any) -> Iterator[type]:
    modules = [model_module]
    for key, module in sorted(sys.modules.items()):
        if name and key.startswith(name + ".") and module is not None:
            modules.append(module)
    for module in modules:
        for value in list(getattr(module, "__dict__", {}).values()):
            # A module may hold anything under a name, objects that answer no question included.
            try:
                chosen = isinstance(value, type) and value.__module__ != "builtins"
                chosen = chosen and (_is_config(value) or _makes_models(value, name))
            except BaseException:
                continue
            if chosen:
                yield value


def _is_config(cls: type) -> bool:
    return "__dataclass_fields__" in cls.__dict__ or bool(_CONFIG_NAME.search(cls.__name__))


def _makes_models(cls: type, family: str) -> bool:
    """A class of the family that is loaded by a method of its own, as codecs are."""
    own = cls.__module__ == family or cls.__module__.startswith(family + ".")
    return own and any(method in cls.__dict__ for method in ("from_pretrained", "from_config"))


def _name(cls: type) -> str:
    # A metaclass may answer this with an exception as well.
    try:
        return str(cls.__qualname__)
    except BaseException:
        return "a class"


def _class(cls: type, role: str) -> Dict[str, Any]:
    try:
        file = inspect.getsourcefile(cls)
        line = inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        file, line = None, 0
    signature = inspect.signature(cls)
    made = dataclasses.is_dataclass(cls) and not _own_initialiser(cls)
    factories = {}
    if made:
        factories = {field.name: field.default_factory for field in dataclasses.fields(cls)}
    hints = _hints(cls if made else getattr(cls, "__init__", None))
    parameters: List[Dict[str, Any]] = []
    accepts_any = False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            accepts_any = True
        if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            continue
        parameters.append(
            {
                "name": parameter.name,
                "required": parameter.default is inspect.Parameter.empty,
                "type": _type(parameter.annotation),
                "default": _default(parameter.default, factories.get(parameter.name)),
                "nested": _nested(hints.get(parameter.name, parameter.annotation)),
            }
        )
    return {
        "class_name": cls.__name__,
        "module": cls.__module__,
        "role": role,
        "dataclass": made,
        "accepts_any": accepts_any,
        "file": file,
        "line": line,
        "parameters": parameters,
    }


def _hints(owner: Any) -> Dict[str, Any]:
    """Annotations with their names resolved; empty where one of them cannot be."""
    try:
        return dict(typing.get_type_hints(owner))
    except BaseException:
        return {}


def _own_initialiser(cls: type) -> bool:
    """``__init__`` is written out: a generated one has no source file of its own."""
    for base in cls.__mro__:
        if "__init__" in base.__dict__:
            code = getattr(inspect.unwrap(base.__dict__["__init__"]), "__code__", None)
            return code is not None and code.co_filename != "<string>"
    return False


def _type(annotation: Any) -> Optional[str]:
    if annotation is inspect.Parameter.empty:
        return None
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not getattr(annotation, "__args__", None):
        return annotation.__name__
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", str(annotation))
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", text)


def _nested(annotation: Any) -> Optional[str]:
    """The config class in ``X``, ``Optional[X]`` or ``"X | None"``."""
    if isinstance(annotation, str):
        for word in re.findall(r"[A-Za-z_]\w*", annotation.split("[")[-1]):
            if _CONFIG_NAME.search(word):
                return str(word)
        return None
    # In a list of them, or a mapping, the parameter itself is no such object.
    either = getattr(annotation, "__origin__", None) is typing.Union or type(annotation).__name__ == "UnionType"
    for candidate in (annotation, *(annotation.__args__ if either else ())):
        if isinstance(candidate, type) and _is_config(candidate):
            return candidate.__name__
    return None


def _default(value: Any, factory: Any) -> Optional[str]:
    if value is inspect.Parameter.empty:
        return None
    if factory is not None and factory is not dataclasses.MISSING:
        # A factory is the patient's code, but the one that the constructor would call anyway.
        try:
            value = factory()
        except BaseException:
            return None
    if dataclasses.is_dataclass(value):
        return None
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)[:2000]
    except (TypeError, ValueError):
        return None
