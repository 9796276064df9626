"""Takes a model apart while it is built: which parts its classes construct, from what, and which of them fail.

The loader runs as it is, with every constructor of the model's parts watched. A part of the model
that raises is noted, and the construction goes on without it, so that every other part is built
as well: one run tells which fail by themselves. Parts that the post-load hook makes count too.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import linecache
import re
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from mlx_diagnose.collectors.probes import argument_origins, failures, installed, patching
from mlx_diagnose.collectors.probes.channel import Channel

#: How deep parts of parts are told: the model's own are 1.
_DEPTH = 2
_MAX_PARTS = 500
_ASSIGNED = re.compile(r"self\.(\w+)\b[^=]*=(?!=)")


def serve(loader: Any, channel: Channel, request: Dict[str, Any]) -> None:
    """Load the directory ``load`` with its parts watched; sends what a load sends, and then ``components``."""
    taker = _Watch(loader, request["load"])
    with patching.Patches() as patches:
        loader.on_family = lambda module: taker.attach(module, patches)
        try:
            loader.run(request["load"], ghost=request.get("ghost", False))
        finally:
            loader.on_family = lambda module: None
    channel.send("components", model=taker.model_class, parts=taker.described(), after_failure=taker.after_failure)


class _Part:
    """One constructor call. ``depth`` 0 is the model itself, or its post-load hook."""

    def __init__(self, made: Any, cls: Any, depth: int, parent: Optional[_Part]) -> None:
        self.made, self.cls, self.depth, self.parent = made, cls, depth, parent
        self.how = "constructed"
        self.name: Optional[str] = None
        self.stage: Optional[str] = None
        self.origin: Dict[str, Any] = {"section": None, "keys": []}
        self.target: Optional[str] = None
        self.error: Optional[BaseException] = None
        self.through: List[str] = []


class _Watch:
    """The parts met in one load."""

    def __init__(self, loader: Any, directory: str) -> None:
        self._loader = loader
        self._origins = argument_origins.ArgumentOrigins(installed.read_config(directory))
        self._stack: List[_Part] = []
        self._parts: List[_Part] = []
        self._root: Optional[_Part] = None
        self.model_class: Optional[str] = None
        #: The model's own code failed after a part had, likely for want of it.
        self.after_failure = False

    def attach(self, module: Any, patches: patching.Patches) -> None:
        """Put the watch around the family's classes, those of its parts, and what makes them from repositories."""
        model = getattr(module, "Model", None)
        self.model_class = getattr(model, "__name__", None)
        for cls in _classes():
            if cls is not model and "__init__" in cls.__dict__:
                patches.wrap(cls, "__init__", functools.partial(self._constructor, cls))
        for cls in _fetchers():
            patches.wrap(cls, "from_pretrained", functools.partial(self._fetcher, cls))
        patches.wrap(model, "__init__", self._whole)
        patches.wrap(model, "post_load_hook", self._hook)

    # -- around the patient's functions ------------------------------------------------------

    def _whole(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def construct(model: Any, *args: Any, **kwargs: Any) -> Any:
            if self._stack:
                return function(model, *args, **kwargs)
            for value in (*args, *kwargs.values()):
                self._origins.know(value)
            return self._inside(_Part(model, type(model), 0, None), function, (model, *args), kwargs)

        return construct

    def _hook(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def hook(model: Any, *args: Any, **kwargs: Any) -> Any:
            return self._inside(_Part(model, type(model), 0, None), function, (model, *args), kwargs)

        return hook

    def _inside(self, root: _Part, function: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        self._root = root
        self._stack.append(root)
        try:
            return function(*args, **kwargs)
        except Exception:
            self.after_failure = any(part.error is not None and part.depth == 1 for part in self._parts)
            raise
        finally:
            del self._stack[:]
            self._name_parts(root)

    def _constructor(self, cls: type, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def construct(made: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._stack or self._stack[-1].made is made:  # the same object's base class
                return function(made, *args, **kwargs)
            return self._part(made, type(made), function, (made, *args), args, kwargs)

        return construct

    def _fetcher(self, cls: type, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def fetch(*args: Any, **kwargs: Any) -> Any:
            if not self._stack:
                return function(*args, **kwargs)
            own = args[1:] if args and isinstance(args[0], type) else args
            return self._part(None, cls, function, args, own, kwargs, how="from-pretrained")

        return fetch

    def _part(
        self,
        made: Any,
        cls: type,
        function: Callable[..., Any],
        passed: Tuple[Any, ...],
        args: Tuple[Any, ...],
        kwargs: Dict[str, Any],
        how: str = "constructed",
    ) -> Any:
        parent = self._stack[-1]
        part = _Part(made, cls, parent.depth + 1, parent)
        part.how = how
        if part.depth <= _DEPTH:
            part.stage = self._loader.clock.active
            part.name = _assigned(sys._getframe(2))
            if how == "from-pretrained":
                part.target = next((value for value in (*args, *kwargs.values()) if isinstance(value, str)), None)
            part.origin = self._origins.of(_named(cls, how, args, kwargs))
            self._parts.append(part)
        self._stack.append(part)
        try:
            result = function(*passed, **kwargs)
            if how == "from-pretrained":
                part.made = result
            return result
        except Exception as error:
            part.through.insert(0, cls.__name__)
            if parent.depth:
                parent.through = part.through
            part.error = error
            if part.depth > 1:
                raise
            # Go on without it: its neighbours are to be built as well.
            return None
        finally:
            while self._stack and self._stack.pop() is not part:
                pass

    # -- what was seen -----------------------------------------------------------------------

    def _name_parts(self, root: _Part) -> None:
        """Names from where the parts ended up; a part that did not is named as the source assigns it."""
        names: Dict[int, str] = {}
        for owner in (root, *(part for part in self._parts if part.depth == 1 and part.parent is root)):
            for name, value in _attributes(owner.made):
                names.setdefault(id(value), name)
        for part in self._parts:
            inside = part.parent is root or (part.parent is not None and part.parent.parent is root)
            if inside and part.made is not None:
                part.name = names.get(id(part.made), part.name)

    def described(self) -> List[Dict[str, Any]]:
        """The parts as data, in the order of their construction."""
        listed = self._parts[:_MAX_PARTS]
        found = []
        for part in listed:
            outer = part.parent
            found.append(
                {
                    "name": part.name,
                    "parent": listed.index(outer) if outer in listed else None,
                    "depth": part.depth,
                    "class_name": getattr(part.cls, "__name__", str(part.cls)),
                    "module": str(getattr(part.cls, "__module__", "")),
                    "how": part.how,
                    "stage": part.stage or "construct",
                    "section": part.origin["section"],
                    "keys": part.origin["keys"],
                    "target": part.target,
                    "through": part.through,
                    "chain": failures.chain(part.error, part.stage or "construct") if part.error else [],
                    "tensors": _tensors(part.made) if part.error is None else None,
                }
            )
        return found


def _classes() -> Iterator[type]:
    """Module classes of any package, and other classes of mlx-audio's that are no configuration."""
    nn: Any = importlib.import_module("mlx.nn")
    seen: Set[type] = set()
    stack: List[type] = [nn.Module]
    while stack:
        derived: List[type] = stack.pop().__subclasses__()
        for cls in derived:
            if cls not in seen:
                seen.add(cls)
                stack.append(cls)
                yield cls
    for module in _mlx_audio_modules():
        for value in list(vars(module).values()):
            if _is_plain_class(value) and value not in seen:
                seen.add(value)
                yield value


def _is_plain_class(value: Any) -> bool:
    # A module may hold anything under a name, objects that answer no question included.
    try:
        return (
            isinstance(value, type)
            and value.__module__.startswith("mlx_audio.")
            and not issubclass(value, (BaseException, tuple))
            and not _is_config(value)
        )
    except Exception:
        return False


def _is_config(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or cls.__name__.endswith(("Config", "Args"))


def _fetchers() -> List[type]:
    """Classes within reach of mlx-audio's code that make objects from a repository or directory."""
    found: List[type] = []
    modules = [*_mlx_audio_modules(), sys.modules.get("transformers")]
    for module in modules:
        for value in list(vars(module).values()) if module is not None else ():
            try:
                chosen = isinstance(value, type) and callable(getattr(value, "from_pretrained", None))
            except Exception:
                continue
            if chosen and value not in found and not _is_config(value):
                found.append(value)
    return found


def _mlx_audio_modules() -> List[Any]:
    return [module for name, module in sorted(sys.modules.items()) if name.startswith("mlx_audio.") and module]


def _named(cls: type, how: str, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> List[Tuple[str, Any]]:
    """Arguments with their parameter names, as far as the signature tells them."""
    try:
        function = cls if how == "constructed" else cls.from_pretrained  # type: ignore[attr-defined]
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError, AttributeError):
        names = []
    named = [(names[at] if at < len(names) else "", value) for at, value in enumerate(args)]
    return named + list(kwargs.items())


def _assigned(frame: Any) -> Optional[str]:
    """The attribute that the source line of ``frame`` assigns to."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)
    found = _ASSIGNED.search(line)
    return found.group(1) if found else None


def _attributes(made: Any) -> Iterator[Tuple[str, Any]]:
    """Attributes of a module or object, lists and dicts of them gone into once."""
    items: List[Tuple[Any, Any]] = list(made.items()) if isinstance(made, dict) else []
    items += list(getattr(made, "__dict__", {}).items())
    for name, value in items:
        yield str(name), value
        inner = enumerate(value) if isinstance(value, (list, tuple)) else ()
        if type(value) is dict:
            inner = value.items()  # type: ignore[assignment]
        for key, item in inner:
            yield "%s.%s" % (name, key), item


def _tensors(made: Any) -> Optional[List[int]]:
    """Number and bytes of the parameters of a module."""
    try:
        from mlx.utils import tree_flatten

        flat: Any = tree_flatten(made.parameters())
        arrays = [array for _, array in flat if hasattr(array, "nbytes")]
        return [len(arrays), sum(array.nbytes for array in arrays)]
    except Exception:
        return None
