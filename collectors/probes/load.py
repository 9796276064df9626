"""One run of the patient's own load function, with its stages marked and its outcome reported.

Also the entry of the probe process: it says hello, loads once, and then serves further loads of
changed copies (counterfactuals) from the same process until its requests end.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import platform
import sys
import traceback
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, List, Optional, Set, TextIO

from mlx_diagnose.collectors.probes import (
    bare_tokenizers,
    caught,
    conduct,
    config_reading,
    failures,
    filled,
    ghosts,
    installed,
    limits,
    memory_use,
    shims,
    signature,
    stages,
    tensors,
    trace,
    unfetched,
    unfit_parts,
    watch,
)
from mlx_diagnose.collectors.probes.channel import Channel

# As they were before the patient's code could replace them.
_exit, _decoded, _import_module = os._exit, json.loads, importlib.import_module


class Loader:
    """The load function of one category of the installed mlx-audio, with its steps wrapped."""

    def __init__(self, channel: Channel, directory: Optional[str], category: str) -> None:
        self._channel = channel
        self._directory = directory
        self.category = category
        self.clock = stages.StageClock(self._stage)
        self.caught = caught.CaughtExceptions(lambda: self.clock.active)
        self.seen: Dict[str, Any] = {}
        self.trace: Optional[trace.Trace] = None
        self._watched_classes: List[type] = []
        #: Modules whose classes were described: once a session does for all its loads.
        self._described: Set[str] = set()
        #: Called with the family's module whenever the loader has resolved it.
        self.on_family: Callable[[Any], None] = lambda module: None
        self._module: Any = None
        self.load: Optional[Callable[..., Any]] = None
        #: Puts what the patient's code replaced back while a report is made.
        self.undone: Callable[[], ContextManager[None]] = nullcontext

    # -- preparing ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Import the loader of the category and put the marks in place. Raises what the import raises."""
        self._module = importlib.import_module("mlx_audio.%s.utils" % self.category)
        shared = sys.modules.get("mlx_audio.utils")
        owners = [module for module in (self._module, shared) if module is not None]
        for name, stage in stages.LOADER_STEPS.items():
            around = {"architecture": self._resolving, "config": self._reading}.get(stage, self._step(stage))
            for owner in owners:
                stages.wrap_attribute(owner, name, around)
        self._wrap_import()
        self._wrap_mlx()
        self.load = getattr(self._module, "load_model", None) or getattr(self._module, "load", None)
        if self.load is None:
            raise ImportError("mlx_audio.%s.utils has no load_model" % self.category)
        parameters = inspect.signature(self.load).parameters
        self._channel.send(
            "loader",
            module=self.load.__module__,
            function=self.load.__name__,
            strict=parameters["strict"].default if "strict" in parameters else None,
            shared=hasattr(shared, "base_load_model"),
            category=self.category,
        )
        self._parameters = parameters

    def _step(self, stage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda function: stages.wrap(self.clock, function, stage)

    def _wrap_mlx(self) -> None:
        """Loaders that read, quantise and fill in line (early releases, families with a loader of
        their own): mark by the MLX functions they call. Inside another step these marks do nothing."""
        import mlx.core as mx
        import mlx.nn as nn
        from mlx.nn.layers.base import Module

        stages.wrap_attribute(mx, "load", self._step("weights"))
        stages.wrap_attribute(nn, "quantize", self._step("quantize"))
        stages.wrap_attribute(Module, "load_weights", self._loading)

    def _reading(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Mark the config step, and show a trace the config whose values it is to recognise."""

        def load_config(*args: Any, **kwargs: Any) -> Any:
            with self.clock.step("config"):
                config = function(*args, **kwargs)
            if self.trace is not None and self.clock.active is None:
                self.trace.config_read(config)
            if self.clock.active is None:
                directory = args[0] if args else kwargs.get("model_path")
                _quietly(self._channel, "config_reading", lambda: self._tell_lost(directory, config, function))
            return config

        load_config.__wrapped__ = function  # type: ignore[attr-defined]
        return load_config

    def _tell_lost(self, directory: Any, config: Any, function: Callable[..., Any]) -> None:
        keys = config_reading.lost(directory, config)
        if keys:
            self._channel.send("config_lost", keys=keys, package=config_reading.reader_of(function))

    def _resolving(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Mark the architecture step and, on its return, the classes of the family."""
        names = list(inspect.signature(function).parameters)

        def resolve(*args: Any, **kwargs: Any) -> Any:
            given = dict(zip(names, args), **kwargs)
            asked = given.get("model_type")
            with self.clock.step("architecture"):
                result = function(*args, **kwargs)
            module, resolved = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
            self.seen["module"] = module
            self._report_resolution(asked, given.get("model_name"), resolved)
            # What a module or its metaclass raises when it is looked at, the loader meets itself.
            with contextlib.suppress(BaseException):
                self._mark_family(module)
            self.on_family(module)
            self.caught.start(self.trace.calls if self.trace is not None else None)
            return result

        resolve.__wrapped__ = function  # type: ignore[attr-defined]
        return resolve

    def _report_resolution(self, asked: Any, parts: Any, resolved: Any) -> None:
        self._channel.send(
            "resolution",
            asked=asked if isinstance(asked, str) else None,
            name_parts=[str(part) for part in parts or []],
            resolved=resolved if isinstance(resolved, str) else None,
        )

    def _wrap_import(self) -> None:
        """Inside resolution, importing a family that exists is the import stage."""
        original = importlib.import_module
        clock, seen = self.clock, self.seen
        prefix = "mlx_audio.%s.models." % self.category
        directory = self._directory or ""
        models = os.path.join(directory, self.category, "models")

        def import_module(name: str, package: Optional[str] = None) -> Any:
            if clock.active == "architecture" and isinstance(name, str) and name.startswith(prefix):
                family = seen["tried"] = name[len(prefix) :]
                # A zipped package has no folders to look at: there it counts as found.
                if not os.path.isdir(models) or installed.has_family(directory, self.category, family):
                    clock.advance("import")
            return original(name, package)

        importlib.import_module = import_module

    def _mark_family(self, module: Any) -> None:
        config_class = getattr(module, "ModelConfig", None)
        model_class = getattr(module, "Model", None)
        for owner, names in ((config_class, ("from_dict",)), (model_class, ("__init__", "from_config"))):
            if isinstance(owner, type) and owner not in self._watched_classes:
                for name in names:
                    stages.wrap_attribute(owner, name, self._step("construct"))
                self._watched_classes.append(owner)
                if owner is model_class:
                    stages.wrap_attribute(owner, "sanitize", self._step("sanitize"))
                    stages.wrap_attribute(owner, "load_weights", self._loading)
                    stages.wrap_attribute(owner, "post_load_hook", self._step("post_load"))

    def _loading(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Mark the load step and remember what met what, for the difference."""

        names = [name for name in inspect.signature(function).parameters if name != "self"][:1]
        own = not str(getattr(inspect.unwrap(function), "__module__", "")).startswith("mlx.")

        def load_weights(model: Any, *args: Any, **kwargs: Any) -> Any:
            # Called just as the loader calls it: a call that the model does not take must still fail.
            weights = args[0] if args else kwargs.get(names[0]) if names else None
            strict = bool(kwargs.get("strict", args[1] if len(args) > 1 else True))
            if self.clock.active is not None or not isinstance(weights, (list, tuple, str)):
                if not strict and isinstance(weights, (list, tuple)):
                    (self._note_part if "parts" in self.seen else self.unfit.note)(model, weights)
                with self.clock.step("load"):
                    return function(model, *args, **kwargs)
            with self.clock.step("load"):
                pairs = tensors.pairs_of(weights)
                self.seen.update(model=model, weights=pairs, strict=strict, parts=[])
                if not strict and own:
                    filling = filled.Filling(model)
                elif not strict:
                    self._send_tables(raised=False)
                result = function(model, *args, **kwargs)
            if not strict and own:
                # What a method of the family's own makes of names and arrays shows only in what it filled.
                self._send_difference(*filling.difference(pairs), strict=False, raised=False)
            if strict:
                self._send_parts(model)
            self.seen.pop("parts", None)
            self._channel.send("given", count=len(pairs), bytes=memory_use.size_of(pairs))
            self.seen.pop("model", None)
            self.seen.pop("weights", None)
            return result

        load_weights.__wrapped__ = function  # type: ignore[attr-defined]
        load_weights.__name__ = "load_weights"
        return load_weights

    def _note_part(self, part: Any, weights: Any) -> None:
        """A model that is strict as a whole fills ``part`` of it without comparing anything."""
        # Before the weights are in: afterwards the parameters have the shapes of what was given.
        given = tensors.table(weights)
        # Constants that the family's own classes compute are why it compares nothing: only layers have to be given.
        layers = tensors.in_layers(part)
        wanted = {name: value for name, value in tensors.parameters(part).items() if name in layers or name in given}
        self.seen["parts"].append((part, wanted, given))

    def _send_parts(self, model: Any) -> None:
        """Report the parts that were filled without a comparison, under their names in ``model``."""
        if not self.seen["parts"]:
            return
        places = {id(module): name for name, module in model.named_modules()}
        wanted: tensors.Table = {}
        given: tensors.Table = {}
        for part, parameters, weights in self.seen["parts"]:
            place = places.get(id(part))
            if place is not None:
                wanted.update(tensors.under(place, parameters))
                given.update(tensors.under(place, weights))
        self._send_difference(wanted, given, strict=False, raised=False)

    def _send_tables(self, raised: bool) -> None:
        """Report the model's parameters against the weights given, whole if they differ."""
        model = tensors.parameters(self.seen["model"])
        given = tensors.table(self.seen["weights"])
        self._send_difference(model, given, strict=self.seen["strict"], raised=raised)

    def _send_difference(self, model: tensors.Table, given: tensors.Table, *, strict: bool, raised: bool) -> None:
        counts = tensors.differences(model, given)
        if not raised and not (counts["missing"] or counts["unexpected"] or counts["shape"]):
            return
        model, given = tensors.trimmed(model, given)
        self._channel.send("tensors", model=model, sanitized=given, counts=counts, strict=strict, raised=raised)

    # -- loading -----------------------------------------------------------------------------

    def _stage(self, name: str, status: str, seconds: float, peak: Optional[int]) -> None:
        self._channel.send("stage", name=name, status=status, seconds=seconds, peak_memory=peak)

    def run(self, path: str, *, ghost: bool = False, revision: Optional[str] = None, traced: bool = False) -> None:
        """Load ``path`` once, lazily, with the default strictness, and report how it ended."""
        self.trace = trace.Trace(lambda: self.clock.active) if traced else None
        if self.trace is not None:
            self.trace.start()
        arguments: Dict[str, Any] = {}
        if "lazy" in self._parameters:
            arguments["lazy"] = True
        if revision is not None:
            arguments["revision"] = revision
        load = self.load
        assert load is not None
        self.observe(lambda: load(path, **arguments), ghosts.refuse_reads() if ghost else nullcontext())

    def observe(self, load: Callable[[], Any], guard: ContextManager[None]) -> None:
        """Report how ``load`` ends, which loads a model, with its stages."""
        self.clock.reset()
        self.seen.clear()
        self.unfit = unfit_parts.UnfitParts()
        raised: Optional[BaseException] = None
        model: Any = None
        try:
            with guard:
                model = load()
        except BaseException as error:
            raised = error
        with self.undone():
            self._ended(raised, model)

    def _ended(self, raised: Optional[BaseException], model: Any) -> None:
        if raised is None:
            self._send_caught(None)
            _quietly(self._channel, "bare_tokenizers", lambda: bare_tokenizers.report(model, self._channel.send))
            _quietly(self._channel, "unfit_parts", lambda: self.unfit.report(model, self._channel.send))
            self._channel.send("outcome", loads=True, stage=None, active=memory_use.active())
        elif isinstance(raised, ghosts.ValueDependent):
            stage = self.clock.blame(raised)
            self._send_caught(raised)
            self._channel.send(
                "value_read", stage=stage, operation=raised.operation, file=raised.file, line=raised.line
            )
            self._channel.send("outcome", loads=None, stage=stage)
        elif isinstance(raised, stages.Ended):
            self._send_caught(raised)
            self._channel.send("outcome", loads=None, stage=None)
        else:
            self._failed(raised)

    def _send_caught(self, raised: Optional[BaseException]) -> None:
        found = self.caught.stop(raised)
        if found:
            self._channel.send("caught", exceptions=found)
        if self.trace is not None:
            done = self.trace
            behind: List[Dict[str, Any]] = []
            if raised is not None:
                _quietly(self._channel, "reached", lambda: behind.extend(done.reached_by(raised)))
            _quietly(self._channel, "trace", lambda: self._channel.send("trace", reached=behind, **done.stop()))
            if self.caught.failure is not None:
                self._channel.send("unavailable", what="trace", reason=self.caught.failure)
            self.trace = None

    def current_call(self) -> Optional[int]:
        """The number of the traced call that runs now."""
        return self.trace.calls.current() if self.trace is not None else None

    def _failed(self, error: BaseException) -> None:
        stage = self.clock.blame(error)
        self._send_caught(error)
        self._channel.send("exceptions", chain=failures.chain(error, stage), text=_text(error))
        if stage in ("architecture", "import"):
            self._report_resolution(None, None, self.seen.get("tried"))
        if "model" in self.seen:
            _quietly(self._channel, "tensors", lambda: self._send_tables(raised=True))
        if "module" in self.seen:
            _quietly(self._channel, "signature", self._send_signature)
        self._channel.send("outcome", loads=False, stage=stage)

    def _send_signature(self) -> None:
        module = self.seen["module"]
        name = str(getattr(module, "__name__", ""))
        described = name in self._described
        self._described.add(name)
        self._channel.send("signature", module=name, document=None if described else signature.describe(module))


def _text(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(line for line in lines if "<diagnose>/" not in line)[-20000:]


def _quietly(channel: Channel, what: str, work: Callable[[], None]) -> None:
    """Run a part of the report that the patient's objects may break; say so instead of failing."""
    try:
        work()
    except BaseException as error:
        channel.send("unavailable", what=what, reason="%s: %s" % (type(error).__name__, error))


def _hello(channel: Channel) -> None:
    channel.send(
        "hello",
        python=platform.python_version(),
        implementation=sys.implementation.name,
        executable=sys.executable,
        prefix=sys.prefix,
        system=platform.system(),
        machine=platform.machine(),
        os_version=platform.mac_ver()[0] or platform.release(),
        path=[entry for entry in sys.path if entry],
        pid=os.getpid(),
    )


def _backend(channel: Channel) -> bool:
    try:
        import mlx.core as mx
    except BaseException as error:
        channel.send("backend", importable=False, error="%s: %s" % (type(error).__name__, error))
        channel.send("exceptions", chain=failures.chain(error, "import"), text=_text(error))
        return False
    metal = getattr(mx, "metal", None)
    channel.send(
        "backend",
        importable=True,
        device=str(mx.default_device()),
        metal=bool(metal.is_available()) if metal is not None else None,
        version=getattr(mx, "__version__", None),
        info=memory_use.device(),
    )
    return True


def main(job: Dict[str, Any], requests: TextIO, reports: int) -> None:
    """Entry of the probe. Ends the process itself: nothing of the patient runs at exit."""
    channel = Channel(reports)
    _hello(channel)
    limits.apply(job.get("address_space"))
    directory = installed.package_directory()
    category = job.get("category")
    if directory is not None:
        config = None if category else installed.read_config(job.get("directory"))
        category = category or installed.category_of(directory, config, job.get("name", ""))
    channel.send(
        "mlx_audio",
        directory=directory,
        version=installed.version(directory) if directory else None,
        category=category or "tts",
    )
    _drop_from_path(job.get("directory"))
    loader = _loader(channel, directory, category or "tts", job.get("name", ""))
    watcher = watch.Watch(
        channel.send,
        lambda: loader.clock.active or "import",
        job.get("directory"),
        job["offline"],
        loader.current_call,
    )
    watcher.install()
    before = conduct.Conduct()
    loader.undone = before.undone
    ready = _backend(channel)
    if ready and job.get("unfetched"):
        unfetched.Holes(job["unfetched"], channel.send).install()
    ready = ready and _prepare(loader, channel)
    if ready and job["load"] is not None:
        with _shimmed(job, channel):
            loader.run(
                job["load"],
                ghost=job.get("ghost", False),
                revision=job.get("revision"),
                traced=job.get("traced", False),
            )
    _quietly(channel, "conduct", lambda: channel.send("conduct", changed=before.changes()))
    channel.send("done", ready=ready)
    if not channel.ours:
        # A child would take the requests that are meant for its parent.
        _exit(0)
    for line in requests:
        _serve(loader, channel, line)
    _quietly(channel, "output", lambda: sys.stdout.flush())
    _exit(0)


def _loader(channel: Channel, directory: Optional[str], category: str, name: str) -> Loader:
    if category != "codec":
        return Loader(channel, directory, category)
    from mlx_diagnose.collectors.probes.codec import CodecLoader

    return CodecLoader(channel, directory, category, name)


def _prepare(loader: Loader, channel: Channel) -> bool:
    """Import the loader; a failure there is a failed import stage."""
    try:
        loader.prepare()
    except BaseException as error:
        with loader.undone():
            channel.send("stage", name="import", status="failed", seconds=0.0, peak_memory=stages.peak_memory())
            channel.send("exceptions", chain=failures.chain(error, "import"), text=_text(error))
            channel.send("outcome", loads=False, stage="import")
        return False
    return True


def _serve(loader: Loader, channel: Channel, line: str) -> None:
    request = _decoded(line)
    with _shimmed(request, channel):
        if "probe" in request:
            # Another probe's: its module serves it, through the same loader.
            probe = _import_module("mlx_diagnose.collectors.probes." + request["probe"])
            probe.serve(loader, channel, request)
        else:
            loader.run(
                request["load"],
                ghost=request.get("ghost", False),
                revision=request.get("revision"),
                traced=request.get("traced", False),
            )
    channel.send("done", ready=True)


def _shimmed(request: Dict[str, Any], channel: Channel) -> ContextManager[Any]:
    return shims.applied(request, lambda what, why: channel.send("unavailable", what=what, reason=why))


def _drop_from_path(directory: Optional[str]) -> None:
    """Python files that came with the model are not importable."""
    if directory is None:
        return
    model = os.path.realpath(directory)
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != model]
