"""Where a config's keys go: which class takes which section, and which keys are read on the way.

Follows the config through a family's source the way the loader hands it over
(``ModelConfig.from_dict(config)``, then ``Model(config)``), by evaluating expressions on two
kinds of values: a *section* of the config (known by its path) and an *instance* of a class that
was built from one. Everything else is unknown, and no code is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import replace

from mlx_diagnose.collectors.config_values import (
    Dependency,
    Instance,
    Read,
    Section,
    Take,
    Taken,
    Use,
    Value,
    below,
    fingerprint,
)
from mlx_diagnose.collectors.function_evaluation import Body
from mlx_diagnose.collectors.source_world import Class, Function, Module, Parameter, World

#: Begins the path of a section of which only the class is known that takes it.
UNPLACED = "@"
_MAX_DEPTH = 10
_LOADING = "from_pretrained"
_MAX_CALLS = 2_000


class Flow:
    """Follows a config. The results are ``takes``, ``reads``, ``uses`` and ``dependencies``.

    ``aside`` is set while code is looked at that making the model does not run: it adds to uses and
    dependencies alone; ``reading`` while that is followed which reads the config's file itself.
    ``looped`` counts the conditions that are only the body of a comprehension.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.takes: list[Take] = []
        self.reads: list[Read] = []
        self.uses: list[Use] = []
        self.dependencies: list[Dependency] = []
        self.instances: dict[int, Instance] = {}
        #: The model that was made; and by object, what sizes its layers: {attribute: {axis: paths}}.
        self.model: Instance | None = None
        self.layers: dict[int, dict[str, dict[int | None, tuple[str, ...]]]] = {}
        self.lists: set[tuple[int, str]] = set()
        self._made: dict[tuple[object, ...], Instance] = {}
        self.aside = False
        self.reading = False
        self._calls = 0
        self.conditional = 0
        self.looped = 0
        self._called: set[int] = set()
        self._running: list[tuple[object, ...]] = []
        self._done: dict[tuple[object, ...], Value] = {}

    def follow(self, family: Module) -> None:
        """Follow the config through ``ModelConfig.from_dict`` and ``Model.__init__`` of a family.

        No loader reads the config for a codec: its class has a ``from_pretrained`` that does.
        """
        codec = self._self_loading(family) if family.name.startswith("mlx_audio.codec.") else None
        if codec is not None:
            self._follow_loading(codec)
            return
        config: Value = Section(("",))
        config_class = self.world.lookup(family, "ModelConfig")
        if isinstance(config_class, Class):
            method = config_class.method("from_dict")
            if method is not None:
                config = self.call_method(method, config_class, [config], {}) or Instance(config_class)
        model = self.world.lookup(family, "Model")
        if isinstance(model, Class):
            if model.maker is not None:  # mlx_audio/stt/models/parakeet/parakeet.py
                made = self.call(model.maker, [model, config], {})
                self.model = made if isinstance(made, Instance) else None
            elif self._takes_first(model, config):
                self.model = self.construct(model, [config], {}, None)

    def _self_loading(self, family: Module) -> Class | None:
        """The class that ``probes/codec.py`` loads: the first of the family with a ``from_pretrained``."""
        for name in family.names:
            found = self.world.lookup(family, name)
            if isinstance(found, Class) and found.module.name.startswith(family.name) and found.method(_LOADING):
                return found
        return None

    def _follow_loading(self, cls: Class) -> None:
        method = cls.method(_LOADING)
        assert method is not None
        self.reading = True
        try:
            made = self.call_method(method, cls, [], {})
        finally:
            self.reading = False
        # Some return other things with it (mlx_audio/codec/models/encodec/encodec.py).
        self.model = made if isinstance(made, Instance) else self.instances.get(id(cls))

    def _takes_first(self, model: Class, config: Value) -> bool:
        """The first parameter of a model is for its config, as far as its annotation tells.

        Where it is for something else, the model is not made by the loader of its category
        (``mlx_audio/sts/models/deepfilternet/model.py`` of 0.4.1).
        """
        first = model.parameters[0] if model.parameters else None
        cls = self.world.nested_class(first) if first is not None else None
        return cls is None or cls.is_config or not isinstance(config, Instance)

    def look_aside(self, function: Function) -> None:
        """Evaluate a function that making the model did not call, with what its annotations and its class tell.

        What is read adds to uses and dependencies, not to what the config must have.
        """
        if id(function.node) in self._called:
            return
        self.aside = True
        env: dict[str, Value] = {}
        for argument in function.parameters:
            cls = self.world.annotated_class(function.module, argument.annotation)
            if cls is not None and cls.is_config:
                env[argument.arg] = self.instance_of(cls)
        first: list[Value] = []
        if function.owner is not None and "staticmethod" not in function.decorators:
            by_class = "classmethod" in function.decorators
            first = [function.owner if by_class else self.instance_of(function.owner)]
        try:
            self.call(function, first, env)
        finally:
            self.aside = False

    def instance_of(self, cls: Class) -> Instance:
        """The object of a class that making the model made, else one of which only the class is known."""
        known = self.instances.get(id(cls))
        if known is None:
            section = Section((f"{UNPLACED}{cls.name}",)) if cls.is_config else None
            known = self.instances[id(cls)] = Instance(cls, section)
            initialiser = cls.method("__init__")
            if initialiser is not None:
                self.look_aside(initialiser)
                self.aside = True
        return known

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
        way = (self.aside, self.sure, self.conditional > 0, self.looped > 0)
        key = (id(function.node), *way, *map(fingerprint, env.values()))
        if key in self._done:
            return self._done[key]
        self._calls += 1
        depth = 2 if self.aside else _MAX_DEPTH
        if key in self._running or len(self._running) > depth or self._calls > _MAX_CALLS * (1 + self.aside):
            return None
        if not self.aside:
            self._called.add(id(function.node))
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
        if not self.aside:
            self.instances.setdefault(id(cls), instance)
        if rest is not None:
            instance.fields.update({**rest.maybe, **rest.given})
            if rest.paths:
                self._take_section(cls, rest, {*named, *(p.name for p in cls.parameters[: len(positional)])})
        else:
            self._take_explicitly(cls, named)
        instance.fields.update(named)
        if cls.initialiser is not None:
            way = (self.aside, self.sure, self.conditional > 0, self.looped > 0)
            given = (id(cls), *way, *map(fingerprint, positional), *named, *map(fingerprint, named.values()))
            twin = self._made.setdefault((*given, fingerprint(rest)), instance)
            self.call(cls.initialiser, [instance, *positional], named, rest)
            if twin is not instance:  # the same call is not followed twice, and would do the same
                instance.fields.update({name: value for name, value in twin.fields.items() if value is not None})
                self.layers.setdefault(id(instance), self.layers.get(id(twin), {}))
                self.lists.update((id(instance), name) for owner, name in list(self.lists) if owner == id(twin))
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
        dropped = section.filtered or cls.ignores_others
        unknown = "dropped" if dropped else "accepted" if cls.accepts_any else "rejected"
        if not self.aside:
            self.takes.append(Take(cls, section.paths, unknown, tuple(taken), frozenset(given), self.conditional > 0))

    def _take_explicitly(self, cls: Class, named: Mapping[str, Value]) -> None:
        """``cls(dim=config["dim"], ...)``: the keys read are what the class takes; others are dropped."""
        if self.aside or self.looped:  # modules of one layer say nothing of the section as a whole
            return
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
                parameter = replace(own, name=key, required=required, default=None if required else default)
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
            nested = self.world.nested_class(parameter)
            part = section.child(parameter.name)
            if nested is not None and isinstance(part, Section) and len(self._running) < _MAX_DEPTH:
                self.conditional += not parameter.required
                instance.fields[parameter.name] = self.take_annotated(nested, part)
                self.conditional -= not parameter.required
        return instance

    # -- what is learnt ----------------------------------------------------------------------

    @property
    def sure(self) -> bool:
        """Every way through the code comes here, if only once a layer."""
        return self.conditional == self.looped

    def read(
        self,
        section: Section,
        name: str,
        node: ast.expr,
        by: Function,
        how: str,
        *,
        required: bool,
        default: str | None = None,
    ) -> None:
        """Note that ``name`` of ``section`` is read by name."""
        if name in section.given or not section.paths:
            return
        must = required and not self.conditional and name not in section.maybe
        read = Read(below(section.paths, name), must, _reader(by), str(by.module.file), node.lineno, how, default)
        if not self.aside:
            self.reads.append(read)
        self._used(read, name, None, None, by)

    def use(
        self, owner: Instance, name: str, node: ast.expr, by: Function, how: str, default: str | None = None
    ) -> None:
        """Note that attribute ``name`` of a configuration object is read."""
        cls = owner.cls
        if not cls.is_config or name.startswith("__") or (name not in owner.fields and _is_plain_method(cls, name)):
            return
        value = owner.attribute(name)
        if isinstance(value, Section) and value.paths:
            paths = value.paths
        else:
            paths = below(owner.section.paths, name) if owner.section is not None else ()
        declared = None if cls.attributes is None or cls.accepts_any else name in cls.attributes or cls.takes(name)
        required = how == "attribute" and not self.conditional
        read = Read(paths, required, _reader(by), str(by.module.file), node.lineno, how, default)
        self._used(read, name, cls, True if name in owner.fields else declared, by)

    def _used(self, read: Read, name: str, cls: Class | None, declared: bool | None, by: Function) -> None:
        stage = "later" if self.aside else "construct"
        self.uses.append(Use(read, name, cls, declared, by.node.name, stage, self.sure))

    def depend(
        self, relation: str, one: Value, others: Iterable[Value], node: ast.AST, by: Function, *, asserted: bool = False
    ) -> None:
        """Note that the code presupposes something of values that come from the config."""
        known = [value.paths for value in others if isinstance(value, Section) and value.paths]
        if not isinstance(one, Section) or not one.paths or not known:
            return
        for paths in known:
            if paths != one.paths and paths[0] and one.paths[0]:
                text, line = ast.unparse(node)[:300], getattr(node, "lineno", by.node.lineno)
                found = (relation, one.paths, paths, asserted, text, _reader(by), str(by.module.file), line, self.sure)
                self.dependencies.append(Dependency(*found))


def _reader(by: Function) -> str:
    return by.owner.name if by.owner is not None else by.node.name


def _is_plain_method(cls: Class, name: str) -> bool:
    method = cls.method(name)
    return method is not None and not {"property", "cached_property"} & method.decorators


def _optional(parameter: Parameter) -> Parameter:
    return replace(parameter, required=False)
