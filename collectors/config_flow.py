"""Where a config's keys go: which class takes which section, and which keys are read on the way.

Follows the config through a family's source the way the loader hands it over
(``ModelConfig.from_dict(config)``, then ``Model(config)``), by evaluating expressions on two
kinds of values: a *section* of the config (known by its path) and an *instance* of a class that
was built from one. Everything else is unknown, and no code is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from mlx_diagnose.collectors.config_values import Instance, Read, Section, Take, Taken, Value, below, fingerprint
from mlx_diagnose.collectors.function_evaluation import Body
from mlx_diagnose.collectors.source_world import Class, Function, Module, Parameter, World

_MAX_DEPTH = 10
_MAX_CALLS = 2_000


class Flow:
    """Follows a config. The results are ``takes`` and ``reads``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.takes: list[Take] = []
        self.reads: list[Read] = []
        self._calls = 0
        self.conditional = 0
        self._running: list[tuple[object, ...]] = []
        self._done: dict[tuple[object, ...], Value] = {}

    def follow(self, family: Module) -> None:
        """Follow the config through ``ModelConfig.from_dict`` and ``Model.__init__`` of a family."""
        config: Value = Section(("",))
        config_class = self.world.lookup(family, "ModelConfig")
        if isinstance(config_class, Class):
            method = config_class.method("from_dict")
            if method is not None:
                config = self.call_method(method, config_class, [config], {}) or Instance(config_class)
        model = self.world.lookup(family, "Model")
        if isinstance(model, Class):
            self.construct(model, [config], {}, None)

    # -- calls -------------------------------------------------------------------------------

    def call_method(self, method: Function, owner: Value, positional: list[Value], named: dict[str, Value]) -> Value:
        first = [] if "staticmethod" in method.decorators else [owner]
        return self.call(method, [*first, *positional], named)

    def call(
        self, function: Function, positional: list[Value], named: Mapping[str, Value], rest: Section | None = None
    ) -> Value:
        """Evaluate a function's body with its parameters bound; the value it returns."""
        parameters = function.parameters
        env: dict[str, Value] = dict.fromkeys(a.arg for a in parameters)
        for argument, value in zip(parameters, positional, strict=False):
            env[argument.arg] = value
        env.update({name: value for name, value in named.items() if name in env})
        if rest is not None:
            for argument in parameters[len(positional) :]:
                if argument.arg not in named:
                    env[argument.arg] = rest.child(argument.arg)
            if function.node.args.kwarg is not None:
                env[function.node.args.kwarg.arg] = rest
        key = (id(function.node), self.conditional > 0, *(fingerprint(value) for value in env.values()))
        if key in self._done:
            return self._done[key]
        self._calls += 1
        if key in self._running or len(self._running) > _MAX_DEPTH or self._calls > _MAX_CALLS:
            return None
        self._running.append(key)
        outer = self.conditional
        try:
            returned = Body(self, function, env).run()
        finally:
            self.conditional = outer
            self._running.pop()
        self._done[key] = returned
        return returned

    def construct(self, cls: Class, positional: list[Value], named: dict[str, Value], rest: Section | None) -> Instance:
        """``cls(*positional, **named, **rest)``: note what it takes and follow its initialiser."""
        instance = Instance(cls, rest)
        if rest is not None:
            instance.fields.update({**rest.maybe, **rest.given})
            if rest.paths:
                self._take_section(cls, rest, {*named, *(p.name for p in cls.parameters[: len(positional)])})
        else:
            self._take_explicitly(cls, named)
        instance.fields.update(named)
        if cls.initialiser is not None:
            self.call(cls.initialiser, [instance, *positional], named, rest)
        else:
            instance.fields.update(zip((p.name for p in cls.parameters), positional, strict=False))
            after = cls.method("__post_init__")
            if after is not None:
                self.call(after, [instance], {})
        return instance

    def _take_section(self, cls: Class, section: Section, named: Iterable[str]) -> None:
        given = {*named, *section.given}
        taken = [
            Taken(below(section.paths, p.name), p if p.name not in section.maybe else _optional(p))
            for p in cls.parameters
            if p.name not in given
        ]
        unknown = "dropped" if section.filtered else "accepted" if cls.accepts_any else "rejected"
        self.takes.append(Take(cls, section.paths, unknown, tuple(taken), frozenset(given), self.conditional > 0))

    def _take_explicitly(self, cls: Class, named: Mapping[str, Value]) -> None:
        """``cls(dim=config["dim"], ...)``: the keys read are what the class takes; others are dropped."""
        taken: dict[str, list[Taken]] = {}
        known = {parameter.name: parameter for parameter in cls.parameters}
        for name, value in named.items():
            source = value.section if isinstance(value, Instance) else value
            if isinstance(source, Section) and source.paths and source.paths[0] and name in known:
                parent, _, key = source.paths[0].rpartition(".")
                own = known[name]
                read = next((r for r in self.reads if r.paths == source.paths and r.by_key), None)
                if read is None:  # handed over from an object: not what takes it from the config
                    continue
                required = read.required
                default = own.default if read.default is None else read.default
                parameter = Parameter(key, required, own.type, None if required else default, own.annotation)
                taken.setdefault(parent, []).append(Taken(source.paths, parameter))
        for parent, items in taken.items():
            unknown = "dropped" if cls.is_dataclass else "accepted"
            given = frozenset(named) - {item.parameter.name for item in items}
            self.takes.append(Take(cls, (parent,), unknown, tuple(items), given, self.conditional > 0, True))

    def take_annotated(self, cls: Class, section: Section) -> Instance:
        """A generic function built ``cls`` from ``section``, nested classes by their annotations."""
        if section.paths:
            self._take_section(cls, section.copied(filtered=True), ())
        instance = Instance(cls, section)
        for parameter in cls.parameters:
            nested = self.world.annotated_class(cls.module, parameter.annotation)
            part = section.child(parameter.name)
            if nested is not None and isinstance(part, Section) and len(self._running) < _MAX_DEPTH:
                self.conditional += not parameter.required
                instance.fields[parameter.name] = self.take_annotated(nested, part)
                self.conditional -= not parameter.required
        return instance

    def read(
        self, section: Section, name: str, node: ast.expr, by: Function, *, required: bool, default: str | None = None
    ) -> None:
        """Note that ``name`` of ``section`` is read by name."""
        if name in section.given or not section.paths:
            return
        reader = by.owner.name if by.owner is not None else by.node.name
        must = required and not self.conditional and name not in section.maybe
        by_key = not isinstance(node, ast.Attribute)
        paths = below(section.paths, name)
        self.reads.append(Read(paths, must, reader, str(by.module.file), node.lineno, by_key, default))


def _optional(parameter: Parameter) -> Parameter:
    return Parameter(parameter.name, False, parameter.type, parameter.default, parameter.annotation)
