"""Follows a family's source for what it fetches and which files it opens, stage by stage.

As the loader goes: the import of the module, ``Model(config)``, ``sanitize``, ``post_load_hook``;
then everything else, which runs when the model is used. Statements are evaluated in order on the
values of :mod:`companion_values`; of a branch whose condition the config or the directory decides,
only the one that would be taken.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlx_diagnose.collectors.companion_body import Evaluation
from mlx_diagnose.collectors.companion_calls import Calls
from mlx_diagnose.collectors.companion_values import Key, Place, Section, Text, Thing, Value, fingerprint
from mlx_diagnose.collectors.source_world import Class, Function, Module, World, absolute

_MAX_DEPTH = 14
_MAX_CALLS = 3_000

#: Stages at which the loader calls into the family, and the methods that it calls.
_METHODS = (("sanitize", "sanitize"), ("load", "load_weights"), ("post_load", "post_load_hook"))


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that the code reaches for.

    ``what`` is repo or file; ``target`` the repository, or the place of the file; ``stage`` None
    when it is used only later. ``file`` and ``line`` are where it is asked for, ``by`` the outermost
    line of the family that leads there. ``tested``: the code asks first whether it is there, or
    comes here only on some way; ``swallowed``: it goes on after a failure.
    """

    what: str
    target: Text | Key | Place
    stage: str | None
    file: str
    line: int
    by_file: str
    by_line: int
    reader: str
    tested: bool
    swallowed: bool


class CompanionFlow:
    """``wishes`` of one family. ``value`` gives the value of a config key (UNDECIDED where not known),
    ``exists`` whether a file of the model directory is there (None where not known)."""

    def __init__(
        self,
        world: World,
        family: Module,
        value: Callable[[Key], object],
        exists: Callable[[str], bool | None],
    ) -> None:
        self.world, self.family, self.value, self.exists = world, family, value, exists
        self.wishes: dict[tuple[object, ...], Wish] = {}
        self.stage: str | None = "import"
        self.conditional = 0
        self.guarded = 0
        self.trail: list[tuple[str, int]] = []
        self._running: list[tuple[object, ...]] = []
        self._done: dict[tuple[object, ...], Value] = {}
        self._visited: set[int] = set()
        self._things: dict[tuple[str, str], Thing] = {}
        self._calls = 0

    def follow(self) -> None:
        """Follow the family from its import to its use."""
        self._imported(self.family, set())
        self.stage = "construct"
        config = self._config()
        prepare = self.world.lookup(self.family, "prepare_model_path")
        if isinstance(prepare, Function):
            self.call(prepare, [(Place(None),)], {})
        model_class = self.world.lookup(self.family, "Model")
        model: Value = ()
        if isinstance(model_class, Class):
            model = (self.construct(model_class, [config], {}),)
            for stage, name in _METHODS:
                self.stage = stage
                method = model_class.method(name)
                if method is not None:
                    first: list[Value] = [(model_class,)] if "classmethod" in method.decorators else []
                    self.call(method, [*first, model, *([(Place(None),)] if stage == "post_load" else [])], {})
        self.stage = None
        self._rest(model)

    def _config(self) -> Value:
        config_class = self.world.lookup(self.family, "ModelConfig")
        if not isinstance(config_class, Class):
            return (Section(""),)
        config = Thing(config_class, "")
        after = config_class.method("__post_init__")
        if after is not None:
            self.call(after, [(config,)], {})
        return (config,)

    def _imported(self, module: Module, seen: set[str]) -> None:
        """The statements that run when ``module`` is imported, those of what it imports first."""
        if module.name in seen:
            return
        seen.add(module.name)
        for statement, alias in module.names.values():
            if isinstance(statement, ast.ImportFrom) and alias is not None:
                self._imports(absolute(module, statement), alias.name, seen)
            elif isinstance(statement, ast.Import) and alias is not None:
                self._imports(alias.name, "", seen)
        Evaluation(self, module, None, {}).statements(
            [s for s in module.tree.body if not isinstance(s, (ast.FunctionDef, ast.ClassDef)) and not _is_main(s)]
        )

    def _imports(self, module: str, name: str, seen: set[str]) -> None:
        if module.partition(".")[0] != "mlx_audio":
            return
        for candidate in (module, f"{module}.{name}") if name else (module,):
            found = self.world.module(candidate)
            if found is not None:
                self._imported(found, seen)

    def _rest(self, model: Value) -> None:
        """Functions and methods of the family that nothing called so far: they run when it is used."""
        for module in [m for m in self.world.modules.values() if m is not None and self.of_family(m)]:
            for node in module.tree.body:
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self._unvisited(Function(module, node), [])
                elif isinstance(node, ast.ClassDef):
                    cls = self.world.lookup(module, node.name)
                    if isinstance(cls, Class):
                        mine = model if model and isinstance(model[0], Thing) and model[0].cls is cls else ()
                        known = mine or ((self.thing(cls),) if "__init__" in cls.own_methods else ())
                        for method in cls.own_methods.values():
                            self._unvisited(method, [(cls,) if "classmethod" in method.decorators else known])

    def _unvisited(self, function: Function, first: list[Value]) -> None:
        if id(function.node) not in self._visited:
            self.call(function, [] if "staticmethod" in function.decorators else first, {})

    def of_family(self, module: Module) -> bool:
        """Whether ``module`` belongs to the family itself."""
        return module.name == self.family.name or module.name.startswith(self.family.name + ".")

    # -- calls -------------------------------------------------------------------------------

    def thing(self, cls: Class) -> Thing:
        """The object of ``cls`` that stands for all that are made."""
        return self._things.setdefault((cls.module.name, cls.name), Thing(cls))

    def construct(self, cls: Class, positional: list[Value], named: Mapping[str, Value]) -> Thing:
        """``cls(...)``: the object, after its initialiser."""
        thing = self.thing(cls)
        if cls.initialiser is not None:
            self.call(cls.initialiser, [(thing,), *positional], named)
        else:
            thing.fields.update(zip((p.name for p in cls.parameters), positional, strict=False))
            thing.fields.update(named)
        return thing

    def call(self, function: Function, positional: list[Value], named: Mapping[str, Value]) -> Value:
        """Evaluate a function's body with its parameters bound; what it may return."""
        env = _bound(self, function, positional, named)
        key = (id(function.node), self.stage, self.guarded > 0, self.conditional > 0, *fingerprint(env.values()))
        if key in self._done:
            return self._done[key]
        self._calls += 1
        if key in self._running or len(self._running) > _MAX_DEPTH or self._calls > _MAX_CALLS:
            return ()
        self._visited.add(id(function.node))
        self._running.append(key)
        outer = self.conditional, self.guarded
        try:
            returned = Evaluation(self, function.module, function, env).run()
        finally:
            self.conditional, self.guarded = outer
            self._running.pop()
        self._done[key] = returned
        return returned

    # -- results -----------------------------------------------------------------------------

    def wish(self, what: str, target: Text | Key | Place, node: ast.expr, by: Calls, *, tested: bool) -> None:
        """Note that ``target`` is reached for at ``node``; the earliest stage of a target counts."""
        file, line = str(by.module.file), node.lineno
        by_file, by_line = self.trail[0] if self.trail else (file, line)
        key = (what, target, file, line)
        loose = tested or self.conditional > 0
        known = self.wishes.get(key)
        if known is not None and (known.stage is not None or self.stage is None) and (not known.tested or loose):
            return
        self.wishes[key] = Wish(
            what, target, self.stage, file, line, by_file, by_line, by.name, loose, self.guarded > 0
        )


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _bound(
    flow: CompanionFlow, function: Function, positional: list[Value], named: Mapping[str, Value]
) -> dict[str, Value]:
    """Parameters by name; those that were not given have their defaults."""
    arguments = function.node.args
    ordered = [*arguments.posonlyargs, *arguments.args]
    env: dict[str, Value] = {}
    at_home = Evaluation(flow, function.module, None, {})
    for argument, default in zip(reversed(ordered), reversed(arguments.defaults), strict=False):
        env[argument.arg] = at_home.value(default)
    for argument, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        env[argument.arg] = at_home.value(keyword_default) if keyword_default is not None else ()
    for argument, value in zip(ordered, positional, strict=False):
        env[argument.arg] = value
    for argument in [*ordered, *arguments.kwonlyargs]:
        if argument.arg in named:
            env[argument.arg] = named[argument.arg]
        env.setdefault(argument.arg, ())
    return {argument.arg: env[argument.arg] for argument in [*ordered, *arguments.kwonlyargs]}
