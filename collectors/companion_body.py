"""Evaluates the body of one function for :mod:`companion_flow`: its statements in order, and its conditions."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mlx_diagnose.collectors.companion_calls import TESTS, Calls
from mlx_diagnose.collectors.companion_expressions import UNDECIDED, name_of
from mlx_diagnose.collectors.companion_values import Key, Number, Place, Text, Thing, Value, join, of_kind
from mlx_diagnose.collectors.source_world import absolute
from mlx_diagnose.collectors.syntax import children

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


class Evaluation(Calls):
    """One walk through a body."""

    returned: Value = ()

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
            for child in children(node):
                if isinstance(child, ast.expr):
                    self.value(child)
        return False

    def branch(self, node: ast.If) -> bool:
        # ``if not file.exists(): raise``: the test is no question, the file has to be there.
        self.demanding = gives_up(node.body) or gives_up(node.orelse)
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
        taken = node.body if decided else node.orelse
        # What stops the load will be mended: what comes after is wanted as well.
        return self.statements(taken) and not gives_up(taken)

    def maybe(self, body: Sequence[ast.stmt]) -> bool:
        """Statements that run on some way only."""
        self.flow.conditional += 1
        ended = self.statements(body)
        self.flow.conditional -= 1
        return ended

    def attempt(self, node: ast.Try) -> bool:
        quiet = any(_handles(handler) and not gives_up(handler.body) for handler in node.handlers)
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
        if isinstance(node, ast.Call) and name_of(node.func) in TESTS:
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


def _is_repo_id(text: str) -> bool:
    return text.count("/") == 1 and not text.startswith((".", "/", "~"))


def _handles(handler: ast.ExceptHandler) -> bool:
    kinds: Iterable[ast.expr] = [] if handler.type is None else [handler.type]
    if isinstance(handler.type, ast.Tuple):
        kinds = handler.type.elts
    names = [name_of(kind) for kind in kinds]
    return not names or any(name in _HANDLES for name in names)


def gives_up(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)
