"""Evaluates the body of one function for :mod:`companion_flow`: what it fetches, which files it names."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mlx_diagnose.collectors.companion_values import (
    Key,
    Number,
    Place,
    Section,
    Text,
    Thing,
    Value,
    join,
    of_kind,
)
from mlx_diagnose.collectors.source_world import Class, Function, Module, absolute

if TYPE_CHECKING:
    from mlx_diagnose.collectors.companion_flow import CompanionFlow

#: A condition or a config value that is not known.
UNDECIDED: Any = object()

#: Functions that fetch a repository, and the name of the argument that names it.
_FETCHES = {
    "snapshot_download": "repo_id",
    "hf_hub_download": "repo_id",
    "cached_download": "repo_id",
    "get_model_path": "path_or_hf_repo",
    "fetch_from_hub": "model_path",
    "load_model": "model_path",
}
#: Methods of classes of other packages that fetch.
_METHODS = ("from_pretrained", "from_hparams", "from_hub")
#: Calls whose result is their argument, as far as places are concerned.
_SAME = frozenset(
    {"str", "Path", "PurePath", "fspath", "expanduser", "resolve", "absolute", "as_posix", "abspath", "realpath"}
    | {"normpath", "eval", "copy", "deepcopy", "expandvars", "cast"}
)
#: Calls that read the file they are given, or whose path they are called on.
_OPENS = re.compile(
    r"^(?:open|_?load\w*|Load|LoadFromFile|from_file|safe_open|_?read\w*|parse|\w+(?:Processor|Tokenizer\w*))$"
)
_TESTS = frozenset({"exists", "is_file", "is_dir", "isfile", "isdir"})
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_HANDLES = frozenset(
    {"Exception", "BaseException", "OSError", "IOError", "EnvironmentError", "FileNotFoundError", "ValueError"}
    | {"HfHubHTTPError", "LocalEntryNotFoundError", "EntryNotFoundError", "RepositoryNotFoundError", "RuntimeError"}
)


class Evaluation:
    """One walk through a body. ``env`` holds the variables; ``function`` None is the top level of a module."""

    def __init__(self, flow: CompanionFlow, module: Module, function: Function | None, env: dict[str, Value]) -> None:
        self.flow, self.module, self.function, self.env = flow, module, function, env
        self.returned: Value = ()
        self.demanding = False

    @property
    def name(self) -> str:
        """The qualified name of the function."""
        if self.function is None:
            return "<module>"
        owner = self.function.owner
        return f"{owner.name}.{self.function.node.name}" if owner is not None else self.function.node.name

    def run(self) -> Value:
        """Evaluate the function; what it may return."""
        assert self.function is not None
        self.statements(self.function.node.body)
        return self.returned

    # -- statements --------------------------------------------------------------------------

    def statements(self, body: Sequence[ast.stmt]) -> bool:
        """Evaluate statements in order; True if they end the function for certain."""
        return any(self.statement(node) for node in body)

    def statement(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Return):
            self.returned = join(self.returned, self.value(node.value))
            return True
        if isinstance(node, ast.Raise):
            self.value(node.exc)
            return True
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            value = self.value(node.value)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                self.assign(target, value)
        elif isinstance(node, ast.Expr):
            self.value(node.value)
        elif isinstance(node, ast.If):
            return self.branch(node)
        elif isinstance(node, ast.Try):
            return self.attempt(node)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                value = self.value(item.context_expr)
                if item.optional_vars is not None:
                    self.assign(item.optional_vars, value)
            return self.statements(node.body)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self.loop(node)
        elif isinstance(node, ast.While):
            self.value(node.test)
            self.maybe(node.body)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imported(node)
        elif isinstance(node, (ast.AugAssign, ast.Assert, ast.Delete)):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.value(child)
        return False

    def branch(self, node: ast.If) -> bool:
        # ``if not file.exists(): raise``: the test is no question, the file has to be there.
        self.demanding = _gives_up(node.body) or _gives_up(node.orelse)
        decided = self.decide(node.test)
        self.demanding = False
        if decided is UNDECIDED:
            before = dict(self.env)
            one = self.maybe(node.body)
            after, self.env = self.env, before
            other = self.maybe(node.orelse)
            if other:
                self.env = after
            elif not one:
                self.env = {n: join(after.get(n, ()), self.env.get(n, ())) for n in {*after, *self.env}}
            return one and other
        return self.statements(node.body if decided else node.orelse)

    def maybe(self, body: Sequence[ast.stmt]) -> bool:
        """Statements that run on some way only."""
        self.flow.conditional += 1
        ended = self.statements(body)
        self.flow.conditional -= 1
        return ended

    def attempt(self, node: ast.Try) -> bool:
        quiet = any(_handles(handler) and not _gives_up(handler.body) for handler in node.handlers)
        self.flow.guarded += quiet
        ended = self.statements(node.body)
        self.flow.guarded -= quiet
        for handler in node.handlers:
            self.maybe(handler.body)
        ended = self.statements(node.orelse) or ended
        return self.statements(node.finalbody) or (ended and not quiet)

    def loop(self, node: ast.For | ast.AsyncFor) -> None:
        items: Value = ()
        if isinstance(node.iter, (ast.Tuple, ast.List)):
            items = join(*(self.value(item) for item in node.iter.elts))
        else:
            self.value(node.iter)
        self.assign(node.target, items)
        self.maybe([*node.body, *node.orelse])

    def imported(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            if isinstance(node, ast.ImportFrom):
                source = self.flow.world.module(absolute(self.module, node))
                found = self.flow.world.lookup(source, alias.name) if source is not None else None
                self.env[name] = (found,) if found is not None else self.constant(source, alias.name)
            else:
                module = self.flow.world.module(alias.name if alias.asname else name)
                self.env[name] = (module,) if module is not None else ()

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.env[target.id] = value
        elif isinstance(target, ast.Attribute):
            for owner in of_kind(self.value(target.value), Thing):
                assert isinstance(owner, Thing)
                owner.fields[target.attr] = join(value, owner.fields.get(target.attr, ()))
        elif isinstance(target, (ast.Tuple, ast.List)):
            for item in target.elts:
                self.assign(item, ())

    # -- conditions --------------------------------------------------------------------------

    def decide(self, test: ast.expr) -> Any:
        """True, False or UNDECIDED."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.decide(test.operand)
            return UNDECIDED if inner is UNDECIDED else not inner
        if isinstance(test, ast.BoolOp):
            found = [self.decide(value) for value in test.values]
            stop = isinstance(test.op, ast.Or)
            if stop in found:
                return stop
            return UNDECIDED if UNDECIDED in found else not stop
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return self.compared(test.ops[0], test.left, test.comparators[0])
        value = self.plain(test)
        if value is UNDECIDED:
            return UNDECIDED
        return bool(value)

    def compared(self, operation: ast.cmpop, left: ast.expr, right: ast.expr) -> Any:
        one, other = self.plain(left), self.plain(right)
        if isinstance(operation, (ast.In, ast.NotIn)) or type(operation) not in _COMPARE:
            return UNDECIDED
        if one is UNDECIDED or other is UNDECIDED:
            return UNDECIDED
        try:
            return bool(_COMPARE[type(operation)](one, other))
        except TypeError:
            return UNDECIDED

    def plain(self, node: ast.expr) -> Any:
        """The value of an expression as Python has it, where the config or the directory tells; else UNDECIDED."""
        if isinstance(node, ast.Call) and _name(node.func) in _TESTS:
            self.value(node)
            return self.present(node)
        found = self.value(node)
        if len(found) != 1:
            return UNDECIDED
        (item,) = found
        if isinstance(item, Text):
            return item.text
        if isinstance(item, Number):
            return item.value
        if isinstance(item, Key):
            return self.flow.value(item)
        return UNDECIDED

    def present(self, node: ast.Call) -> Any:
        """Whether the one place that a test asks for is there."""
        argument = node.args[0] if node.args else node.func.value if isinstance(node.func, ast.Attribute) else None
        places = self.value(argument)
        if len(places) != 1:
            return UNDECIDED
        (place,) = places
        if isinstance(place, Text) and _is_repo_id(place.text):
            return False
        if isinstance(place, Place) and place.repo is None:
            there = self.flow.exists(place.inside)
            return UNDECIDED if there is None else there
        return UNDECIDED

    # -- expressions -------------------------------------------------------------------------

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
            for child in ast.iter_child_nodes(node):
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
            return Evaluation(self.flow, module, None, {}).value(statement.value)
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
                found.append(_key(_below(owner.path, node.attr)))
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
            return known or (_key(_below(owner.section, name)) if owner.cls.accepts_any else ())
        nested = self.flow.world.annotated_class(owner.cls.module, parameter.annotation)
        path = _below(owner.section, name)
        return (Thing(nested, path),) if nested is not None else _key(path, parameter.default)

    def class_attribute(self, cls: Class, name: str) -> Value:
        for current in cls.mro:
            for statement in current.node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    assert isinstance(statement, ast.Assign)
                    return Evaluation(self.flow, current.module, None, {}).value(statement.value)
        return ()

    def subscript(self, node: ast.Subscript) -> Value:
        found: list[Value] = []
        names = [item.text for item in self.value(node.slice) if isinstance(item, Text)]
        for owner in self.value(node.value):
            if isinstance(owner, (Section, Key)) and len(names) == 1:
                found.append(_key(_below(owner.path, names[0])))
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

    # -- calls -------------------------------------------------------------------------------

    def called(self, node: ast.Call) -> Value:
        name = _name(node.func)
        owner = self.value(node.func.value) if isinstance(node.func, ast.Attribute) else ()
        positional = [self.value(argument) for argument in node.args]
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg is not None}
        for keyword in node.keywords:
            if keyword.arg is None:
                self.value(keyword.value)
        if name in _SAME:
            return join(owner, *positional[:2]) if name != "cast" else join(*positional)
        if name == "join" and len(positional) > 1:
            whole = positional[0]
            for part in positional[1:]:
                whole = self.joined(whole, part)
            return whole
        if name == "joinpath":
            whole = owner
            for part in positional:
                whole = self.joined(whole, part)
            return whole
        if name == "getattr" and len(positional) > 1:
            return self.named_attribute(node, positional)
        if name in ("get", "pop", "setdefault", "getenv"):
            return self.looked_up(owner, name, positional)
        if name in _TESTS:
            for place in of_kind(join(owner, *positional), Place):
                self.opened(place, node, tested=not self.demanding)
            return ()
        target = self.target(node, owner)
        if name in _FETCHES and not isinstance(target, Class):
            return self.fetched(node, name, positional, named)
        if isinstance(target, Class):
            return (self.followed(node, lambda: self.flow.construct(target, positional, named)),)
        if isinstance(target, Function):
            bound = target.owner is not None and "staticmethod" not in target.decorators
            given = [self.receiver(target, owner), *positional] if bound else positional
            returned: Value = self.followed(node, lambda: self.flow.call(target, given, named))
            return returned
        if name in _METHODS:
            return self.pretrained(node, positional, named)
        if _OPENS.match(name):
            for place in of_kind(join(owner, *positional, *named.values()), Place):
                self.opened(place, node, tested=False)
        return ()

    def followed(self, node: ast.Call, call: Callable[[], Any]) -> Any:
        """A call into another function; the outermost line of the family is remembered."""
        outermost = not self.flow.trail and self.flow.of_family(self.module)
        if outermost:
            self.flow.trail.append((str(self.module.file), node.lineno))
        try:
            return call()
        finally:
            if outermost:
                self.flow.trail.pop()

    def receiver(self, target: Function, owner: Value) -> Value:
        if "classmethod" in target.decorators:
            return join(*((item.cls,) if isinstance(item, Thing) else (item,) for item in owner))
        me = self.env.get("self", ())
        return owner or me

    def target(self, node: ast.Call, owner: Value) -> object:
        """The class or function that is called, if it is one of those that are followed."""
        if isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Call) and _name(node.func.value.func) == "super":
                mine = self.function.owner if self.function is not None else None
                return mine.method(node.func.attr, after=mine) if mine is not None else None
            for item in owner:
                if isinstance(item, Thing) and item.section is None:
                    return item.cls.method(node.func.attr)
                if isinstance(item, Class):
                    return item.method(node.func.attr)
                if isinstance(item, Module):
                    return self.flow.world.lookup(item, node.func.attr)
            return None
        found = self.value(node.func)
        return found[0] if found and isinstance(found[0], (Class, Function)) else None

    def named_attribute(self, node: ast.Call, positional: Sequence[Value]) -> Value:
        names = of_kind(positional[1], Text)
        default = positional[2] if len(positional) > 2 else ()
        if len(names) != 1 or not isinstance(names[0], Text):
            return default
        attribute = ast.copy_location(ast.Attribute(node.args[0], names[0].text, ast.Load()), node)
        return self.attribute(attribute) or default

    def looked_up(self, owner: Value, name: str, positional: Sequence[Value]) -> Value:
        """``config.get("key", default)``, ``os.environ.get("NAME", default)``."""
        default = positional[1] if len(positional) > 1 else ()
        keys = [item.text for item in positional[0] if isinstance(item, Text)] if positional else []
        found: list[Value] = []
        for item in owner:
            if isinstance(item, (Section, Key)) and len(keys) == 1:
                texts = [text.text for text in default if isinstance(text, Text)]
                found.append(_key(_below(item.path, keys[0]), json.dumps(texts[0]) if texts else None))
        return join(*found) or default

    def fetched(self, node: ast.Call, name: str, positional: Sequence[Value], named: dict[str, Value]) -> Value:
        """A download: the repository is a companion, and its files can be named from here on."""
        source = named.get(_FETCHES[name]) or (positional[0] if positional else ()) or named.get("repo", ())
        item = named.get("filename") or (positional[1] if len(positional) > 1 else ())
        files = [text for text in map(self.text_of, item) if text] if name == "hf_hub_download" else []
        found: list[Value] = []
        for repo in source:
            if isinstance(repo, (Text, Key)):
                self.flow.wish("repo", repo, node, self, tested=False)
                places = [Place(repo, file) for file in files] or [Place(repo)]
                for place in places:
                    if place.inside:
                        self.flow.wish("file", place, node, self, tested=False)
                found.append(tuple(places))
            elif isinstance(repo, Place):
                found.append((repo,))
        return join(*found)

    def pretrained(self, node: ast.Call, positional: Sequence[Value], named: dict[str, Value]) -> Value:
        """``AutoTokenizer.from_pretrained(...)`` and its like of other packages."""
        source = positional[0] if positional else named.get("pretrained_model_name_or_path", ())
        folder = named.get("subfolder", ())
        for item in self.joined(source, folder) or source:
            if isinstance(item, (Text, Key)):
                self.flow.wish("repo", item, node, self, tested=False)
            elif isinstance(item, Place):
                self.flow.wish("file", item.joined(f"<{_reads(node)}>"), node, self, tested=False)
        return ()

    def opened(self, place: object, node: ast.Call, *, tested: bool) -> None:
        assert isinstance(place, Place)
        if place.inside and not place.inside.startswith(("*", "/")) and "*" not in place.inside:
            self.flow.wish("file", place, node, self, tested=tested)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _key(path: str, default: str | None = None) -> Value:
    """The value of a key; ``model_path`` is set by the loader (``mlx_audio/utils.py::base_load_model``)."""
    return (Place(None),) if path == "model_path" else (Key(path, default),)


def _appended(place: Place, text: str) -> Place:
    if text.startswith("/"):
        return place.joined(text.strip("/"))
    return Place(place.repo, place.inside + text)


def _reads(node: ast.Call) -> str:
    """What a class of another package reads from a folder, by its name."""
    owner = _name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    for word in ("Tokenizer", "FeatureExtractor", "ImageProcessor", "Processor", "Config"):
        if word.lower() in owner.lower():
            return word
    return owner or "files"


def _is_repo_id(text: str) -> bool:
    return text.count("/") == 1 and not text.startswith((".", "/", "~"))


def _handles(handler: ast.ExceptHandler) -> bool:
    kinds: Iterable[ast.expr] = [] if handler.type is None else [handler.type]
    if isinstance(handler.type, ast.Tuple):
        kinds = handler.type.elts
    names = [_name(kind) for kind in kinds]
    return not names or any(name in _HANDLES for name in names)


def _gives_up(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)
