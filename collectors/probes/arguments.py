"""What a call was given, and where each argument came from: a config key, a section, a default, or code."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from mlx_diagnose.collectors.probes.identity import identity
from mlx_diagnose.collectors.probes.origins import NAME, Origins

#: Arguments of one call that are told.
MAX_ARGUMENTS = 40
_MAX_TEXT = 80
_CONFIGS = ("Config", "Configuration", "Args", "Arguments", "Params", "Parameters")


_name: Any = type.__dict__["__name__"].__get__
_PLAIN = (bool, int, float, str, type(None))
#: Lists up to this length, of plain items, are kept to be compared with those of the config.
_MAX_KEPT = 64


class _Seen:
    """What was seen of an argument that may change, or that a trace must not keep alive."""

    __slots__ = ("exact", "identity", "items", "section", "text", "type")

    def __init__(self, value: Any, origins: Optional[Origins]) -> None:
        self.identity, self.type, self.text = identity(value), type_name(value), text(value)
        self.items: Optional[List[Any]] = None
        self.exact = self.section = None
        if origins is None:
            return
        self.exact = origins.exact(value)
        if self.exact is not None:
            return
        if type(value) is list:
            if len(value) <= _MAX_KEPT and all(type(item) in _PLAIN for item in value):
                self.items = list(value)
        else:
            self.section = origins.section_of(value)


class Given:
    """The arguments of one call as they were when it began; what they mean is worked out when it is asked for."""

    __slots__ = ("code", "kind", "names", "origins", "values")

    def __init__(
        self, code: Any, kind: Optional[type], names: List[str], values: List[Any], origins: Optional[Origins]
    ) -> None:
        self.code, self.kind, self.names, self.values, self.origins = code, kind, names, values, origins


class Arguments:
    """Describes the arguments of calls; without ``origins`` only their values and defaults."""

    def __init__(self) -> None:
        self.origins: Optional[Origins] = None

    def of(self, frame: Any, code: Any) -> Given:
        """The arguments of the call that begins in ``frame``.

        Little is done here, while the model is made: plain values are kept, of others is noted what
        cannot be asked later, since the trace keeps no object of the patient alive.
        """
        # All at once: since Python 3.13 each name that is asked for is searched among the function's.
        given = dict(frame.f_locals.items())
        count = code.co_argcount + code.co_kwonlyargcount
        names = [name for name in code.co_varnames[:count] if name in given]
        kind: Optional[type] = None
        if code.co_argcount and names and names[0] == code.co_varnames[0]:
            owner = given[names[0]]
            kind = owner if issubclass(type(owner), type) else type(owner)
            if names[0] in ("self", "cls"):
                del names[0]
        values = [given[name] for name in names]
        if code.co_flags & 0x08:  # **kwargs
            rest = given.get(code.co_varnames[count + bool(code.co_flags & 0x04)])
            if isinstance(rest, dict):
                names += map(str, rest)
                values += rest.values()
        del names[MAX_ARGUMENTS:], values[MAX_ARGUMENTS:]
        origins = self.origins
        values = [value if type(value) in _PLAIN else _Seen(value, origins) for value in values]
        return Given(code, kind, names, values, origins)

    def described(self, given: Given) -> List[Dict[str, Any]]:
        """``[{"name", "value", "type", "origin", "path", "certain"}]`` of what :meth:`of` saw."""
        defaults = _defaults(given)
        origins = given.origins
        exact = [_exact(value, origins) for value in given.values]
        parents = [path.rpartition(".")[0] for path in exact if path is not None]
        # The section whose keys the arguments are, if the identities of some tell it.
        section = max(set(parents), key=parents.count) if parents else None
        return [
            _described(name, value, _origin(name, value, path, section, origins), defaults)
            for name, value, path in zip(given.names, given.values, exact)
        ]

    def made(self, arguments: List[Dict[str, Any]], made: Any, caller: Any) -> None:
        """``made``, a config, came of a call with ``arguments`` in the frame ``caller``: of which section it is."""
        assert self.origins is not None
        parents = [str(a["path"]).rpartition(".")[0] for a in arguments if a["origin"] == "config" and a["certain"]]
        section = max(set(parents), key=parents.count) if parents else None
        # What code computed has no key; a default has the one that would have been taken.
        given = {a["name"]: None if a["origin"] == "default" else str(a["path"] or "") for a in arguments}
        self.origins.remember(made, section, given, caller)

    def records(self, made: Any) -> bool:
        """Whether ``made`` is a config of which :meth:`made` is to be told."""
        return self.origins is not None and type_name(made).endswith(_CONFIGS)


def _exact(value: Any, origins: Optional[Origins]) -> Optional[str]:
    if type(value) is _Seen:
        return str(value.exact) if value.exact is not None else None
    return origins.exact(value) if origins is not None else None


def _origin(
    name: str, value: Any, exact: Optional[str], section: Optional[str], origins: Optional[Origins]
) -> Optional[Tuple[str, str, bool]]:
    """Origin, path and whether that is certain; None for a default and for what code made."""
    if origins is None:
        return None
    if exact is not None:
        return "config", exact, True
    seen = value if type(value) is _Seen else None
    found = origins.by_name(seen.items if seen is not None and seen.items is not None else value, name, section)
    if found is not None:
        # A small number of that name and value may be another one, but not in a class that takes its section.
        certain = found[1] == NAME and section is not None and found[0].rpartition(".")[0] == section
        return "config", found[0], certain
    return ("section", seen.section, True) if seen is not None and seen.section is not None else None


def _described(
    name: str, value: Any, origin: Optional[Tuple[str, str, bool]], defaults: Dict[str, Any]
) -> Dict[str, Any]:
    seen = value if type(value) is _Seen else None
    kind = seen.type if seen is not None else type_name(value)
    if origin is None:
        # A default lives as long as its function: nothing else had its identity.
        same = name in defaults and identity(defaults[name]) == (seen.identity if seen is not None else identity(value))
        standing_in = same or (name in defaults and kind == "_HAS_DEFAULT_FACTORY_CLASS")
        origin = ("default" if standing_in else "code", None, True)  # type: ignore[assignment]
    assert origin is not None
    return {
        "name": name,
        "value": seen.text if seen is not None else text(value),
        "type": kind,
        "origin": origin[0],
        "path": origin[1],
        "certain": origin[2],
    }


def _defaults(given: Given) -> Dict[str, Any]:
    """Defaults of the function that was called, where it can be found without running anything."""
    code = given.code
    names = code.co_varnames[: code.co_argcount]
    for base in given.kind.__mro__ if given.kind is not None else ():
        function: Any = vars(base).get(code.co_name)
        function = getattr(function, "__func__", function)
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if getattr(function, "__code__", None) is code:
            positional = function.__defaults__ or ()
            found = dict(zip(names[len(names) - len(positional) :], positional))
            found.update(function.__kwdefaults__ or {})
            return found
    return {}


def type_name(value: Any) -> str:
    """The name of the type of ``value``, whatever its metaclass does."""
    return str(_name(type(value)))


def text(value: Any) -> Optional[str]:
    """A short text of plain values and of sizes; of other objects nothing is asked."""
    kind = type(value)
    if kind in (bool, int, float, type(None)):
        return repr(value)[:_MAX_TEXT]
    if kind is str:
        return str(value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 3] + "...")
    if kind in (list, tuple) and all(type(item) in (bool, int, float, str) for item in value[:20]):
        return repr(value[:20])[:_MAX_TEXT]
    if kind in (list, tuple, dict):
        return "%s of %d" % (kind.__name__, len(value))
    return None
