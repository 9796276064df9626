"""Python sources as classes and functions, read without importing them.

Knows just enough of the language to follow a model family's configuration: modules found on a
search path, names through imports, dataclass fields with their defaults, methods by inheritance.
What it cannot read it does not have; it never raises for what stands in a file.
"""

from __future__ import annotations

import ast
import glob
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from mlx_diagnose.collectors.constant_expressions import UNKNOWN, evaluate
from mlx_diagnose.collectors.syntax import parse_expression, syntax_tree, walk

#: Packages that are followed; in others nobody takes our config apart.
FOLLOWED = ("mlx_audio", "mlx_lm", "mlx_vlm")
_MAX_BYTES = 4 * 2**20
_MAX_MODULES = 150
_CONFIG_NAME = re.compile(r"(Config|Configuration|Args|Arguments|Params|Parameters|HParams|Settings)$")
#: Bases that bring no attributes of their own.
_BARE_BASES = frozenset({"object", "ABC", "Generic", "Protocol"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a class takes. ``default`` is JSON text, None where there is none or it is not JSON.

    ``module`` is where it was written: a parameter may be inherited from a class elsewhere.
    """

    name: str
    required: bool
    type: str | None = None
    default: str | None = None
    annotation: ast.expr | None = field(default=None, compare=False, repr=False)
    module: Module | None = field(default=None, compare=False, repr=False)


@dataclass(eq=False)
class Module:
    """A parsed module; ``names`` maps each top-level name to the node that binds it."""

    name: str
    file: Path
    is_package: bool
    tree: ast.Module

    @cached_property
    def names(self) -> dict[str, tuple[ast.stmt, ast.alias | None]]:
        found: dict[str, tuple[ast.stmt, ast.alias | None]] = {}
        for statement in _top_level(self.tree.body):
            if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                found[statement.name] = (statement, None)
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                for alias in statement.names:
                    found[alias.asname or alias.name.split(".")[0]] = (statement, alias)
            elif isinstance(statement, ast.Assign):
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        found[target.id] = (statement, None)
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = (statement, None)
        return found


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those under ``if`` and ``try`` included."""
    for statement in body:
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            yield from _top_level(statement.body)
            for handler in getattr(statement, "handlers", []):
                yield from _top_level(handler.body)
            yield from _top_level(getattr(statement, "orelse", []))
        else:
            yield statement


@dataclass(eq=False)
class Function:
    """A function or method; ``owner`` is the class that defines it."""

    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef
    owner: Class | None = None

    @cached_property
    def decorators(self) -> frozenset[str]:
        return frozenset(_last_name(node) for node in self.node.decorator_list)

    @property
    def parameters(self) -> list[ast.arg]:
        arguments = self.node.args
        return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


@dataclass(eq=False)
class Class:
    """A class. ``parameters`` is what its constructor takes, ``accepts_any`` whether it has ``**kwargs``."""

    module: Module
    node: ast.ClassDef
    world: World = field(repr=False)

    @property
    def name(self) -> str:
        return self.node.name

    @cached_property
    def bases(self) -> list[Class]:
        found = (self.world.evaluate_reference(self.module, base) for base in self.node.bases)
        return [base for base in found if isinstance(base, Class) and base is not self]

    @cached_property
    def mro(self) -> list[Class]:
        """The class and its bases, nearest first; a cycle ends it."""
        order: list[Class] = []
        queue = [self]
        while queue:
            current = queue.pop(0)
            if current not in order:
                order.append(current)
                queue.extend(current.bases)
        return order

    @cached_property
    def own_methods(self) -> dict[str, Function]:
        return {
            node.name: Function(self.module, node, self)
            for node in self.node.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }

    def method(self, name: str, after: Class | None = None) -> Function | None:
        """The method that this class uses under ``name``; ``after`` a class of its MRO, as ``super()`` does."""
        order = self.mro[self.mro.index(after) + 1 :] if after in self.mro else self.mro
        return next((c.own_methods[name] for c in order if name in c.own_methods), None)

    @cached_property
    def is_dataclass(self) -> bool:
        return any("dataclass" in {_last_name(d) for d in c.node.decorator_list} for c in self.mro)

    @property
    def is_config(self) -> bool:
        """It looks like configuration: a dataclass, or named so (``probes/signature.py`` has the same rule)."""
        return self._is_made or bool(_CONFIG_NAME.search(self.name))

    @property
    def _is_made(self) -> bool:
        return "dataclass" in {_last_name(d) for d in self.node.decorator_list}

    @cached_property
    def attributes(self) -> frozenset[str] | None:
        """Names that its objects have; None where that is open: an unread base, ``__getattr__``, ``setattr``."""
        found: set[str] = set()
        for current in self.mro:
            bases = {_last_name(base.value if isinstance(base, ast.Subscript) else base) for base in current.node.bases}
            if len(bases - _BARE_BASES) > len(current.bases) or "__getattr__" in current.own_methods:
                return None
            for node in walk(current.node):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
                elif _opens(node):
                    return None
            for statement in current.node.body:
                if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    found.add(statement.name)
                elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    found.add(statement.target.id)
                elif isinstance(statement, ast.Assign):
                    found.update(target.id for target in statement.targets if isinstance(target, ast.Name))
        return frozenset(found)

    def takes(self, name: str) -> bool:
        """Its constructor has a parameter of that name."""
        return any(parameter.name == name for parameter in self.parameters)

    @cached_property
    def initialiser(self) -> Function | None:
        """The ``__init__`` written in the source; None where a dataclass makes it."""
        for current in self.mro:
            if "__init__" in current.own_methods:
                return current.own_methods["__init__"]
            if "dataclass" in {_last_name(d) for d in current.node.decorator_list}:
                return None
        return None

    @cached_property
    def maker(self) -> Function | None:
        """``__new__``, where it stands no farther than ``__init__``: it decides before that is asked."""
        nearest = next((c for c in self.mro if {"__new__", "__init__"} & c.own_methods.keys()), None)
        return nearest.own_methods.get("__new__") if nearest is not None else None

    @cached_property
    def accepts_any(self) -> bool:
        return self.initialiser is not None and self.initialiser.node.args.kwarg is not None

    @cached_property
    def ignores_others(self) -> bool:
        """What its ``**kwargs`` take, nothing looks at: keys that it does not name are dropped."""
        if self.initialiser is None or self.initialiser.node.args.kwarg is None:
            return False
        name = self.initialiser.node.args.kwarg.arg
        return not any(isinstance(node, ast.Name) and node.id == name for node in walk(self.initialiser.node))

    @cached_property
    def parameters(self) -> list[Parameter]:
        if self.initialiser is not None:
            return signature(self.initialiser, self.world)
        return list(self.fields.values()) if self.is_dataclass else []

    @cached_property
    def fields(self) -> dict[str, Parameter]:
        """Annotated fields that a generated ``__init__`` takes, in order, those of the bases first."""
        found: dict[str, Parameter] = {}
        for current in reversed(self.mro):
            for statement in current.node.body:
                if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
                    continue
                parameter = _field(current, statement)
                if parameter is not None:
                    found[parameter.name] = parameter
        return found


Reference: TypeAlias = "Class | Function | Module"


@dataclass(frozen=True, slots=True)
class Problem:
    """A module that is there and cannot be read as source.

    ``reason`` is syntax-error, not-text, compiled-only, native, zipped, too-large or unreadable.
    """

    module: str
    file: str
    reason: str
    message: str
    line: int | None = None


class World:
    """Modules on a search path, parsed when asked for."""

    def __init__(
        self, search_path: Sequence[Path], followed: Sequence[str] = FOLLOWED, limit: int = _MAX_MODULES
    ) -> None:
        """``followed`` are the packages whose modules are read, ``limit`` of them at most."""
        self.search_path = list(dict.fromkeys(search_path))
        self._followed = followed
        self._limit = limit
        self.modules: dict[str, Module | None] = {}
        self.problems: dict[str, Problem] = {}
        self._classes: dict[tuple[str, str], Class] = {}
        self._resolving: set[tuple[str, str]] = set()

    def module(self, name: str) -> Module | None:
        """The module ``name``, None where it is not found, not followed, or not readable as Python."""
        if name not in self.modules:
            followed = name.split(".")[0] in self._followed and len(self.modules) < self._limit
            self.modules[name] = self._load(name) if followed else None
        return self.modules[name]

    def _load(self, name: str) -> Module | None:
        relative = Path(*name.split("."))
        for base in self.search_path:
            for file, is_package in ((base / relative / "__init__.py", True), (base / f"{relative}.py", False)):
                problem = None
                try:
                    if not file.is_file():
                        continue
                    if file.stat().st_size <= _MAX_BYTES:
                        return Module(name, file, is_package, syntax_tree(file))
                    problem = Problem(name, str(file), "too-large", f"it has more than {_MAX_BYTES} bytes")
                except SyntaxError as error:
                    problem = Problem(name, str(file), "syntax-error", str(error.msg), error.lineno)
                except (RecursionError, MemoryError):
                    problem = Problem(name, str(file), "syntax-error", "it is nested too deeply to be parsed")
                except ValueError as error:  # a NUL byte
                    problem = Problem(name, str(file), "not-text", str(error))
                except OSError as error:
                    problem = Problem(name, str(file), "unreadable", error.strerror or str(error))
                # The interpreter would not look further either.
                self.problems[name] = problem
                return None
            if problem := sourceless(base, name):
                self.problems[name] = problem
                return None
            if (base / relative).is_dir():
                return Module(name, base / relative / "__init__.py", True, ast.Module(body=[], type_ignores=[]))
        return None

    def lookup(self, module: Module, name: str) -> Reference | None:
        """What ``name`` stands for at the top level of ``module``, through imports and aliases."""
        key = (module.name, name)
        if key in self._resolving:
            return None
        self._resolving.add(key)
        try:
            return self._lookup(module, name)
        finally:
            self._resolving.discard(key)

    def _lookup(self, module: Module, name: str) -> Reference | None:
        statement, alias = module.names.get(name, (None, None))
        if isinstance(statement, ast.ClassDef):
            return self._classes.setdefault((module.name, name), Class(module, statement, self))
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return Function(module, statement)
        if isinstance(statement, ast.Assign):
            return self.evaluate_reference(module, statement.value)
        if isinstance(statement, ast.Import) and alias is not None:
            return self.module(alias.name if alias.asname else alias.name.split(".")[0])
        if isinstance(statement, ast.ImportFrom) and alias is not None:
            return self._from(absolute(module, statement), alias.name)
        for origin, star in module.names.values():
            if isinstance(origin, ast.ImportFrom) and star is not None and star.name == "*":
                found = self._from(absolute(module, origin), name)
                if found is not None:
                    return found
        return self.module(f"{module.name}.{name}") if module.is_package else None

    def _from(self, source: str, name: str) -> Reference | None:
        origin = self.module(source)
        found = self.lookup(origin, name) if origin is not None else None
        return found if found is not None else self.module(f"{source}.{name}")

    def evaluate_reference(self, module: Module, node: ast.expr) -> Reference | None:
        """The class, function or module that the expression ``node`` (a name or a dotted one) stands for."""
        if isinstance(node, ast.Name):
            return self.lookup(module, node.id)
        if isinstance(node, ast.Attribute):
            base = self.evaluate_reference(module, node.value)
            return self.lookup(base, node.attr) if isinstance(base, Module) else None
        return None

    def constant(self, module: Module, name: str) -> Any:
        """The value of a constant at the top level of ``module``, also one that it imports; else UNKNOWN."""
        key = (module.name, f"={name}")
        if key in self._resolving:
            return UNKNOWN
        self._resolving.add(key)
        try:
            statement, alias = module.names.get(name, (None, None))
            if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
                return evaluate(statement.value, lambda other: self.constant(module, other))
            if isinstance(statement, ast.ImportFrom) and alias is not None:
                origin = self.module(absolute(module, statement))
                return self.constant(origin, alias.name) if origin is not None else UNKNOWN
            return UNKNOWN
        finally:
            self._resolving.discard(key)

    def json(self, module: Module, node: ast.expr) -> str | None:
        """The value of an expression in ``module`` as JSON text; None where it is not known, or no JSON."""
        value = evaluate(node, lambda name: self.constant(module, name))
        if value is UNKNOWN:
            return None
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):
            return None

    def nested_class(self, parameter: Parameter) -> Class | None:
        """The class that a parameter is annotated with."""
        module = parameter.module
        return self.annotated_class(module, parameter.annotation) if module is not None else None

    def annotated_class(self, owner: Module, annotation: ast.expr | None) -> Class | None:
        """The first followed class that an annotation names: ``X``, ``Optional[X]``, ``"X | None"``."""
        if annotation is None:
            return None
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = parse_expression(annotation.value)
            except SyntaxError:
                return None
        container = isinstance(annotation, ast.Subscript) and _last_name(annotation.value).lower() in _CONTAINERS
        if container:
            return None
        for node in walk(annotation):
            if isinstance(node, (ast.Name, ast.Attribute)):
                found = self.evaluate_reference(owner, node)
                if isinstance(found, Class):
                    return found
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node is not annotation:
                quoted = self.annotated_class(owner, node)
                if quoted is not None:
                    return quoted
        return None


def _opens(node: ast.AST) -> bool:
    """Attributes come and go here by names that are not written down."""
    if isinstance(node, ast.Name):
        return node.id in ("setattr", "vars")
    return isinstance(node, ast.Attribute) and node.attr in ("__dict__", "__setattr__")


def sourceless(base: Path, name: str) -> Problem | None:
    """The module ``name`` below ``base`` where it is there without source: compiled, native, or in a zip archive."""
    relative = Path(*name.split("."))
    try:
        for file in (base / relative / "__init__.pyc", base / f"{relative}.pyc"):
            if file.is_file():
                return Problem(name, str(file), "compiled-only", "it is compiled, and its source is not there")
        for file in (base / relative.parent).glob(f"{glob.escape(relative.name)}.*"):
            if file.suffix in (".so", ".pyd", ".dylib"):
                return Problem(name, str(file), "native", "it is a native library")
        if base.is_file() and zipfile.is_zipfile(base):
            with zipfile.ZipFile(base) as archive:
                names = archive.namelist()
            start = relative.as_posix()
            inside = next((n for n in names if n.startswith((f"{start}/__init__.py", f"{start}.py"))), None)
            if inside is not None:
                return Problem(name, f"{base}/{inside}", "zipped", f"it lies inside the archive {base.name}")
    except (OSError, zipfile.BadZipFile):
        return None
    return None


_CONTAINERS = frozenset({"list", "dict", "tuple", "set", "sequence", "mapping", "callable", "type"})


def absolute(module: Module, statement: ast.ImportFrom) -> str:
    """The absolute name of the module that a ``from`` statement imports from."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    parts = parts[: len(parts) - statement.level + module.is_package]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _field(owner: Class, statement: ast.AnnAssign) -> Parameter | None:
    assert isinstance(statement.target, ast.Name)
    text = ast.unparse(statement.annotation).strip("'\"")
    if "ClassVar" in text:
        return None
    value, required, default = statement.value, statement.value is None, None
    if isinstance(value, ast.Call) and _last_name(value) == "field":
        keywords = {keyword.arg: keyword.value for keyword in value.keywords}
        init = keywords.get("init")
        if isinstance(init, ast.Constant) and init.value is False:
            return None
        factory = keywords.get("default_factory")
        value = keywords.get("default")
        required = value is None and factory is None
        default = _factory_json(owner, factory) if factory is not None else None
    if value is not None:
        default = owner.world.json(owner.module, value)
    return Parameter(statement.target.id, required, text, default, statement.annotation, owner.module)


def _factory_json(owner: Class, factory: ast.expr) -> str | None:
    if isinstance(factory, ast.Lambda):
        return owner.world.json(owner.module, factory.body)
    return {"list": "[]", "dict": "{}", "set": "[]", "tuple": "[]"}.get(_last_name(factory))


def signature(function: Function, world: World) -> list[Parameter]:
    """What a method takes beside its first argument, ``*args`` and ``**kwargs`` left out."""
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = list(zip(positional, [*defaults, *arguments.defaults], strict=True))[1:]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [
        Parameter(
            argument.arg,
            default is None,
            ast.unparse(argument.annotation).strip("'\"") if argument.annotation else None,
            world.json(function.module, default) if default is not None else None,
            argument.annotation,
            function.module,
        )
        for argument, default in pairs
    ]
