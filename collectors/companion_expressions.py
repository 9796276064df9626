"""Values of expressions for :mod:`companion_flow`: names, attributes, config keys, and paths put together."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from mlx_diagnose.collectors.companion_values import Key, Number, Place, Section, Text, Thing, Value, join
from mlx_diagnose.collectors.source_world import Class, Function, Module, absolute
from mlx_diagnose.collectors.syntax import children

if TYPE_CHECKING:
    from mlx_diagnose.collectors.companion_flow import CompanionFlow

#: A condition or a config value that is not known.
UNDECIDED: Any = object()


class Expressions:
    """Values of expressions in one body, with its variables in ``env``; ``function`` None is the top of a module."""

    def __init__(self, flow: CompanionFlow, module: Module, function: Function | None, env: dict[str, Value]) -> None:
        self.flow, self.module, self.function, self.env = flow, module, function, env

    def called(self, node: ast.Call) -> Value:
        """The value of a call."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value) -> None:
        """Bind ``target`` to ``value``."""
        raise NotImplementedError

    def decide(self, test: ast.expr) -> Any:
        """True, False or UNDECIDED."""
        raise NotImplementedError

    def at_top_of(self, module: Module) -> Expressions:
        """The same at the top level of ``module``."""
        return type(self)(self.flow, module, None, {})

    def value(self, node: ast.expr | None) -> Value:
        if node is None:
            return ()
        if isinstance(node, ast.Constant):
            return self.literal(node.value)
        if isinstance(node, ast.Name):
            if node.id in self.env:
                return self.env[node.id]
            found = self.flow.world.lookup(self.module, node.id)
            return (found,) if found is not None else self.constant(self.module, node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, ast.Call):
            return self.called(node)
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.JoinedStr):
            return self.formatted(node)
        if isinstance(node, ast.BinOp):
            left, right = self.value(node.left), self.value(node.right)
            return self.joined(left, right) if isinstance(node.op, (ast.Div, ast.Add)) else ()
        if isinstance(node, ast.BoolOp):
            return join(*(self.value(item) for item in node.values))
        if isinstance(node, ast.IfExp):
            decided = self.decide(node.test)
            if decided is UNDECIDED:
                return join(self.value(node.body), self.value(node.orelse))
            return self.value(node.body if decided else node.orelse)
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self.assign(node.target, value)
            return value
        if isinstance(node, (ast.Await, ast.Starred)):
            return self.value(node.value)
        if not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            for child in children(node):
                if isinstance(child, ast.expr):
                    self.value(child)
        return ()

    @staticmethod
    def literal(value: object) -> Value:
        if isinstance(value, str):
            return (Text(value),)
        return (Number(value),) if value is None or isinstance(value, (bool, int, float)) else ()

    def constant(self, module: Module | None, name: str, depth: int = 0) -> Value:
        """The value of a name at the top of a module, through imports, where it is a constant."""
        statement, alias = module.names.get(name, (None, None)) if module is not None else (None, None)
        if module is None or depth > 5:
            return ()
        plain = (ast.Constant, ast.BinOp, ast.JoinedStr)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and isinstance(statement.value, plain):
            return self.at_top_of(module).value(statement.value)
        if isinstance(statement, ast.ImportFrom) and alias is not None:
            return self.constant(self.flow.world.module(absolute(module, statement)), alias.name, depth + 1)
        return ()

    def attribute(self, node: ast.Attribute) -> Value:
        found: list[Value] = []
        for owner in self.value(node.value):
            if isinstance(owner, Thing):
                found.append(self.field(owner, node.attr))
            elif isinstance(owner, Module):
                thing = self.flow.world.lookup(owner, node.attr)
                found.append((thing,) if thing is not None else self.constant(owner, node.attr))
            elif isinstance(owner, Place) and node.attr == "parent":
                found.append((Place(owner.repo, owner.inside.rpartition("/")[0]),))
            elif isinstance(owner, Class):
                found.append(self.class_attribute(owner, node.attr))
            elif isinstance(owner, Section) and node.attr not in ("get", "pop"):
                found.append(key_of(below(owner.path, node.attr)))
        return join(*found)

    def field(self, owner: Thing, name: str) -> Value:
        if name in owner.fields:
            return owner.fields[name]
        if owner.section is None:
            method = owner.cls.method(name)
            if method is not None and "property" in method.decorators:
                return self.flow.call(method, [(owner,)], {})
            return self.class_attribute(owner.cls, name)
        parameter = next((p for p in owner.cls.parameters if p.name == name), None)
        if parameter is None:
            if owner.cls.method(name) is not None:
                return ()
            known = self.class_attribute(owner.cls, name)
            return known or (key_of(below(owner.section, name)) if owner.cls.accepts_any else ())
        nested = self.flow.world.annotated_class(owner.cls.module, parameter.annotation)
        path = below(owner.section, name)
        return (Thing(nested, path),) if nested is not None else key_of(path, parameter.default)

    def class_attribute(self, cls: Class, name: str) -> Value:
        for current in cls.mro:
            for statement in current.node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    assert isinstance(statement, ast.Assign)
                    return self.at_top_of(current.module).value(statement.value)
        return ()

    def subscript(self, node: ast.Subscript) -> Value:
        found: list[Value] = []
        names = [item.text for item in self.value(node.slice) if isinstance(item, Text)]
        for owner in self.value(node.value):
            if isinstance(owner, (Section, Key)) and len(names) == 1:
                found.append(key_of(below(owner.path, names[0])))
        return join(*found)

    def formatted(self, node: ast.JoinedStr) -> Value:
        whole: Value = (Text(""),)
        for part in node.values:
            value = self.value(part.value if isinstance(part, ast.FormattedValue) else part)
            whole = self.concatenated(whole, value)
        return whole

    def concatenated(self, left: Value, right: Value) -> Value:
        found: list[Value] = []
        for one in left:
            for other in right:
                other_text = self.text_of(other)
                one_text = self.text_of(one)
                if isinstance(one, Place) and other_text is not None:
                    found.append((_appended(one, other_text),))
                elif one == Text("") and isinstance(other, (Place, Key)):
                    found.append((other,))
                elif one_text is not None and other_text is not None:
                    found.append((Text(one_text + other_text),))
        return join(*found)

    def text_of(self, item: object) -> str | None:
        if isinstance(item, Text):
            return item.text
        if isinstance(item, Key):
            value = self.flow.value(item)
            return value if isinstance(value, str) else None
        return str(item.value) if isinstance(item, Number) and item.value is not None else None

    def joined(self, left: Value, right: Value) -> Value:
        """``place / name`` and ``os.path.join(place, name)``."""
        found: list[Value] = []
        for one in left:
            for other in right:
                name = self.text_of(other)
                if isinstance(one, Place) and name is not None:
                    found.append((one.joined(name.strip("/")),))
                elif isinstance(one, Text) and isinstance(other, Text):
                    found.append((Text(one.text + other.text),))
        return join(*found)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def key_of(path: str, default: str | None = None) -> Value:
    """The value of a key; ``model_path`` is set by the loader (``mlx_audio/utils.py::base_load_model``)."""
    return (Place(None),) if path == "model_path" else (Key(path, default),)


def _appended(place: Place, text: str) -> Place:
    if text.startswith("/"):
        return place.joined(text.strip("/"))
    return Place(place.repo, place.inside + text)
