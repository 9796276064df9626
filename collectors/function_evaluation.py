"""The evaluation of one function's body on sections of the config and objects built from them."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

from mlx_diagnose.collectors import config_dependencies, config_file_reads, model_layers
from mlx_diagnose.collectors.config_values import ConfigFile, Instance, Section, Value, join
from mlx_diagnose.collectors.constant_expressions import UNKNOWN, evaluate
from mlx_diagnose.collectors.source_world import Class, Function, Module
from mlx_diagnose.collectors.syntax import called_name, children

if TYPE_CHECKING:
    from mlx_diagnose.collectors.config_flow import Flow

#: Functions of others that hand a section on as it is, and builtins that convert a single value.
_PASS = frozenset(
    (
        *("dict", "copy", "deepcopy", "OrderedDict", "SimpleNamespace", "Namespace", "DictConfig", "vars"),
        *("int", "float", "str", "bool", "list", "tuple", "set", "Path"),
    )
)
_NOT_KEYS = frozenset(("items", "keys", "values", "get", "pop", "setdefault", "update", "copy"))
_MAPPINGS = frozenset(("dict", "Mapping", "MutableMapping"))


class Body:
    """The evaluation of one function's body."""

    def __init__(self, flow: Flow, function: Function, env: dict[str, Value]) -> None:
        self.flow, self.function, self.env = flow, function, env
        self.returned: Value = None
        self.guards: list[ast.expr] = []
        #: Names that a branch may have given another number than the config's.
        self.reckoned: set[str] = set()

    def run(self) -> Value:
        self.statements(self.function.node.body)
        return self.returned

    # -- statements --------------------------------------------------------------------------

    def statements(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                config_dependencies.assigned(self, target, node.value)
                self.assign(target, value)
                model_layers.made(self, target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.assign(node.target, self.value(node.value))
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            self.value(node.value)
            self.reckoned.add(node.target.id)
        elif isinstance(node, ast.Return):
            config_dependencies.returned(self, node)
            self.returned = join(self.returned, self.value(node.value)) if node.value is not None else self.returned
        elif isinstance(node, ast.Assert):
            self.value(node.test)
            config_dependencies.presupposed(self, node.test, holds=True)
        elif isinstance(node, ast.If):
            self.branch(node)
        elif isinstance(node, ast.Try):
            # A handler that goes on by another way makes what it guards optional.
            lenient = any(not _gives_up(handler.body) for handler in node.handlers)
            self.flow.conditional += lenient
            self.statements(node.body)
            self.flow.conditional -= lenient
            self.guarded(*(handler.body for handler in node.handlers), node.orelse)
            self.statements(node.finalbody)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self.value(node.iter)
            self.guarded(node.body, node.orelse)
        elif isinstance(node, ast.While):
            self.value(node.test)
            self.guarded(node.body, node.orelse)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                value = self.value(item.context_expr)
                if item.optional_vars is not None and config_file_reads.is_file(value):
                    self.assign(item.optional_vars, value)
            self.statements(node.body)
        else:
            for child in children(node):
                if isinstance(child, ast.expr) and not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Delete)):
                    self.value(child)

    def branch(self, node: ast.If) -> None:
        self.value(node.test)
        if node.body and isinstance(node.body[-1], ast.Raise):
            config_dependencies.presupposed(self, node.test, holds=False)
        if self.tests_for_mapping(node.test):
            # ``if isinstance(config, dict): config = C.from_dict(config)``, and it is an object already.
            self.statements(node.orelse)
            return
        if self.tests_for_its_class(node.test):
            self.statements(node.body)
            return
        before = self.snapshot()
        self.guards.append(node.test)
        self.guarded(node.body)
        after = self.snapshot()
        self.restore(before)
        self.guarded(node.orelse)
        self.guards.pop()
        self.merge(after, _asked_for_none(node.test))
        if node.body and isinstance(node.body[-1], ast.Return) and not node.orelse:
            self.flow.conditional += 1  # undone when the function returns

    def tests_for_mapping(self, test: ast.expr) -> bool:
        """``isinstance(x, dict)`` where ``x`` is known to be an object."""
        return (
            isinstance(test, ast.Call)
            and called_name(test) == "isinstance"
            and len(test.args) == 2
            and isinstance(test.args[1], ast.Name)
            and test.args[1].id in _MAPPINGS
            and isinstance(self.value(test.args[0]), Instance)
        )

    def tests_for_its_class(self, test: ast.expr) -> bool:
        """``isinstance(x, C)`` where ``x`` is known to be a C."""
        if not (isinstance(test, ast.Call) and called_name(test) == "isinstance" and len(test.args) == 2):
            return False
        value, cls = self.value(test.args[0]), self.value(test.args[1])
        return isinstance(value, Instance) and isinstance(cls, Class) and cls in value.cls.mro

    def states(self) -> list[dict[str, Value]]:
        """Everything that a branch may change: the variables, and the insides of what they hold."""
        found = [self.env]
        for value in self.env.values():
            if isinstance(value, Instance):
                found.append(value.fields)
            elif isinstance(value, Section):
                found.extend((value.given, value.maybe))
        return found

    def snapshot(self) -> list[tuple[dict[str, Value], dict[str, Value]]]:
        return [(state, dict(state)) for state in self.states()]

    def restore(self, saved: list[tuple[dict[str, Value], dict[str, Value]]]) -> None:
        for state, content in saved:
            state.clear()
            state.update(content)

    def merge(self, other: list[tuple[dict[str, Value], dict[str, Value]]], defaulted: set[str]) -> None:
        """Join what the other branch left; what ``defaulted`` names got a number for want of one."""
        for state, content in other:
            for name, value in content.items():
                if state is self.env and name in state and (value is None) is not (state[name] is None):
                    self.reckoned.update({name} - defaulted)
                state[name] = join(value, state.get(name))

    def guarded(self, *bodies: list[ast.stmt]) -> None:
        self.flow.conditional += 1
        for body in bodies:
            self.statements(body)
        self.flow.conditional -= 1

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.env[target.id] = value
            if not self.flow.conditional:
                self.reckoned.discard(target.id)
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value)
            if isinstance(owner, Instance):
                owner.fields[target.attr] = value
        elif isinstance(target, ast.Subscript):
            owner, key = self.value(target.value), _text(target.slice)
            if isinstance(owner, Section) and key is not None:
                (owner.maybe if self.flow.conditional else owner.given)[key] = value

    # -- expressions -------------------------------------------------------------------------

    def value(self, node: ast.expr | None) -> Value:
        if self.flow.reading:
            read = config_file_reads.value(self, node)
            if read is not None:
                return read
        if node is None or isinstance(node, ast.Constant):
            return None
        if isinstance(node, ast.Name):
            if node.id in self.env:
                return self.env[node.id]
            return self.flow.world.lookup(self.function.module, node.id)
        if isinstance(node, ast.Call):
            return self.called(node)
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.BoolOp):
            return self.either(node.values)
        if isinstance(node, ast.IfExp):
            self.value(node.test)
            return self.either([node.body, node.orelse], all_optional=True)
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self.assign(node.target, value)
            return value
        if isinstance(node, ast.Dict):
            return self.literal(node)
        if isinstance(node, ast.DictComp):
            return self.comprehension(node)
        if isinstance(node, ast.Compare):
            return self.compared(node)
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            self.repeated(node)
            return None
        if isinstance(node, ast.BinOp):
            left, right = self.value(node.left), self.value(node.right)
            if isinstance(node.op, ast.FloorDiv):
                self.flow.depend("divisible", left, [right], node, self.function)
            return None
        if not isinstance(node, ast.Lambda):
            for child in children(node):
                if isinstance(child, ast.expr):
                    self.value(child)
        return None

    def repeated(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        """``[Layer(config) for _ in range(n)]``: what stands in front, evaluated once."""
        outer = dict(self.env)
        tests = 0
        for generator in node.generators:
            self.value(generator.iter)
            self.assign(generator.target, None)
            for test in generator.ifs:
                self.value(test)
            tests += bool(generator.ifs)
        self.flow.conditional += 1
        self.flow.looped += not tests
        item = self.value(node.elt)
        self.flow.looped -= not tests
        self.flow.conditional -= 1
        self.env = outer
        return item

    def either(self, nodes: list[ast.expr], all_optional: bool = False) -> Value:
        result = None if all_optional else self.value(nodes[0])
        self.flow.conditional += 1
        for node in nodes if all_optional else nodes[1:]:
            result = join(result, self.value(node))
        self.flow.conditional -= 1
        return result

    def compared(self, node: ast.Compare) -> Value:
        """``"key" in config`` reads the key."""
        self.value(node.left)
        for operation, right in zip(node.ops, node.comparators, strict=True):
            container, key = self.value(right), _text(node.left)
            if isinstance(operation, (ast.In, ast.NotIn)) and isinstance(container, Section) and key is not None:
                self.flow.read(container, key, node, self.function, "in", required=False)
        return None

    def attribute(self, node: ast.Attribute) -> Value:
        owner = self.value(node.value)
        if isinstance(owner, Instance):
            value = owner.attribute(node.attr)
            from_rest = owner.cls.accepts_any and node.attr not in owner.fields
            if from_rest and owner.section is not None and isinstance(value, Section):
                self.flow.read(owner.section, node.attr, node, self.function, "attribute", required=True)
            else:
                self.flow.use(owner, node.attr, node, self.function, "attribute")
            return value if value is not None else self.annotated(owner, node.attr)
        if isinstance(owner, Section) and node.attr not in _NOT_KEYS:
            self.flow.read(owner, node.attr, node, self.function, "attribute", required=True)
            return owner.child(node.attr)
        if isinstance(owner, Module):
            return self.flow.world.lookup(owner, node.attr)
        return None

    def subscript(self, node: ast.Subscript) -> Value:
        owner, key = self.value(node.value), _text(node.slice)
        if key is None:
            self.value(node.slice)
        elif isinstance(owner, Section):
            self.flow.read(owner, key, node, self.function, "key", required=isinstance(node.ctx, ast.Load))
            return owner.child(key)
        return None

    def literal(self, node: ast.Dict) -> Value:
        merged: Value = None
        given: dict[str, Value] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item)
            if key is None:
                merged = join(merged, value) if isinstance(value, Section) else merged
            elif _text(key) is not None:
                given[str(_text(key))] = value
        section = merged.copied() if isinstance(merged, Section) else Section(())
        section.given.update(given)
        return section

    def comprehension(self, node: ast.DictComp) -> Value:
        """``{k: v for k, v in section.items() if ...}`` is the section, filtered."""
        source = node.generators[0].iter
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute) and source.func.attr == "items":
            owner = self.value(source.func.value)
            if isinstance(owner, Section):
                return owner.copied(filtered=bool(node.generators[0].ifs))
        return None

    # -- calls -------------------------------------------------------------------------------

    def called(self, node: ast.Call) -> Value:
        if isinstance(node.func, ast.Attribute):
            mapped = self.mapping_method(node, node.func)
            if mapped is not UNKNOWN:
                return mapped
        if isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(node.args) > 1:
            return self.getattr(node)
        config_dependencies.truncated(self, node)
        positional = [self.value(a.value if isinstance(a, ast.Starred) else a) for a in node.args]
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg is not None}
        rest: Value = None
        for keyword in node.keywords:
            if keyword.arg is None:
                value = self.value(keyword.value)
                rest = join(rest, value) if isinstance(value, Section) else rest
        spread = rest if isinstance(rest, Section) else None
        everything = [*positional, *named.values(), spread]
        target, owner = self.target(node.func)
        if isinstance(target, Class):
            return self.flow.construct(target, positional, named, spread)
        if isinstance(target, Function):
            if not any(isinstance(value, (Section, Instance, Class, ConfigFile)) for value in everything):
                return None
            return self.followed(target, owner, positional, named, spread)
        name = called_name(node)
        if name in _PASS:
            first = next((value for value in everything if isinstance(value, (Section, Instance))), None)
            return first.copied() if isinstance(first, Section) else first
        return None

    def target(self, function: ast.expr) -> tuple[Value, Value]:
        """What is called, and the class or object whose method it is."""
        if isinstance(function, ast.Attribute):
            if isinstance(function.value, ast.Call) and called_name(function.value) == "super":
                me = next(iter(self.env.values()), None)
                cls = me.cls if isinstance(me, Instance) else me
                if isinstance(cls, Class):
                    return cls.method(function.attr, after=self.function.owner), me
                return None, None
            owner = self.value(function.value)
            if isinstance(owner, Class):
                return owner.method(function.attr), owner
            if isinstance(owner, Instance):
                return owner.cls.method(function.attr), owner
            return (self.flow.world.lookup(owner, function.attr) if isinstance(owner, Module) else None), None
        return self.value(function), None

    def followed(
        self, target: Function, owner: Value, positional: list[Value], named: dict[str, Value], rest: Section | None
    ) -> Value:
        before = len(self.flow.takes)
        first = [owner] if owner is not None and "staticmethod" not in target.decorators else []
        result = self.flow.call(target, [*first, *positional], named, rest)
        everything = [*first, *positional, *named.values()]
        section = next((value for value in everything if isinstance(value, Section)), None)
        if section is None:
            return result
        cls = next((value for value in everything if isinstance(value, Class)), None)
        unfed = isinstance(result, Instance) and (result.section is None or not result.section.paths)
        if unfed and cls is not None and len(self.flow.takes) == before:
            return self.flow.take_annotated(cls, section)  # mlx_audio/utils.py::from_dict
        return result

    def mapping_method(self, node: ast.Call, function: ast.Attribute) -> Value:
        """``section.get("key")`` and its like; UNKNOWN when it is no such call."""
        if function.attr not in _NOT_KEYS:
            return UNKNOWN  # type: ignore[no-any-return]
        owner = self.value(function.value)
        if not isinstance(owner, Section):
            return UNKNOWN  # type: ignore[no-any-return]
        key = _text(node.args[0]) if node.args else None
        if function.attr == "copy":
            return owner.copied()
        if function.attr == "update":
            for argument in node.args:
                value = self.value(argument)
                if isinstance(value, Section):
                    owner.maybe.update({**value.given, **value.maybe})
            return None
        if key is None:
            for argument in node.args:
                self.value(argument)
            return None
        self.flow.conditional += 1
        default = self.value(node.args[1]) if len(node.args) > 1 else None
        self.flow.conditional -= 1
        literal = evaluate(node.args[1], lambda _: UNKNOWN) if len(node.args) > 1 else None
        required = function.attr == "pop" and len(node.args) == 1
        default_text = None if required else _json(literal)
        self.flow.read(owner, key, node, self.function, function.attr, required=required, default=default_text)
        if function.attr == "setdefault":
            found = owner.child(key)
            owner.maybe[key] = default
            return join(found, default)
        return join(owner.child(key), default)

    def getattr(self, node: ast.Call) -> Value:
        owner, key = self.value(node.args[0]), _text(node.args[1])
        for argument in node.args[2:]:
            self.value(argument)
        if key is None:
            return None
        section = owner.section if isinstance(owner, Instance) and owner.cls.accepts_any else owner
        how = called_name(node)
        default = _json(evaluate(node.args[2], lambda _: UNKNOWN)) if len(node.args) > 2 else None
        if isinstance(section, Section):
            self.flow.read(section, key, node, self.function, how, required=False, default=default)
            return section.child(key)
        if isinstance(owner, Instance):
            self.flow.use(owner, key, node, self.function, how, default)
            return owner.attribute(key)
        return None

    def annotated(self, owner: Instance, name: str) -> Value:
        """An object of the config class that a field is annotated with, where nothing else is known of it."""
        if not self.flow.aside or not owner.cls.is_config:
            return None
        parameter = next((p for p in owner.cls.parameters if p.name == name), None)
        cls = self.flow.world.nested_class(parameter) if parameter is not None else None
        return self.flow.instance_of(cls) if cls is not None and cls.is_config else None


def _gives_up(handler: list[ast.stmt]) -> bool:
    """The handler raises, or returns nothing (``mlx_audio/tts/models/dia/config.py::load_dict``)."""
    last = handler[-1]
    nothing = isinstance(last, ast.Return) and (
        last.value is None or (isinstance(last.value, ast.Constant) and last.value.value is None)
    )
    return nothing or isinstance(last, ast.Raise)


def _json(value: object) -> str | None:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _asked_for_none(test: ast.expr) -> set[str]:
    """Names that ``test`` asks whether they are None, or anything at all."""
    return {
        node.id
        for part in ast.walk(test)
        if (isinstance(part, ast.Compare) and isinstance(part.ops[0], (ast.Is, ast.IsNot)))
        or (isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not))
        for node in ast.walk(part)
        if isinstance(node, ast.Name)
    }
