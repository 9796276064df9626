"""What a call was given, and where each argument came from: a config key, a section, a default, or code."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from mlx_diagnose.collectors.probes.origins import NAME, Origins

#: Arguments of one call that are told.
MAX_ARGUMENTS = 40
_MAX_TEXT = 80
_CONFIG = re.compile(r"(?:Config|Configuration|Args|Arguments|Params|Parameters)$")


class Arguments:
    """Describes the arguments of calls; without ``origins`` only their values and defaults."""

    def __init__(self) -> None:
        self.origins: Optional[Origins] = None

    def of(self, frame: Any) -> List[Dict[str, Any]]:
        """``[{"name", "value", "type", "origin", "path", "certain"}]`` of the call that begins in ``frame``."""
        code = frame.f_code
        given = frame.f_locals
        count = code.co_argcount + code.co_kwonlyargcount
        pairs = [(name, given[name]) for name in code.co_varnames[:count] if name in given]
        pairs = [pair for pair in pairs if pair[0] not in ("self", "cls")]
        if code.co_flags & 0x08:  # **kwargs
            rest = given.get(code.co_varnames[count + bool(code.co_flags & 0x04)])
            if isinstance(rest, dict):
                pairs += [(str(name), value) for name, value in rest.items()]
        pairs = pairs[:MAX_ARGUMENTS]
        defaults = _defaults(frame)
        if self.origins is None:
            return [_described(name, value, None, None, defaults) for name, value in pairs]
        exact = [self.origins.exact(value) for _, value in pairs]
        parents = [path.rpartition(".")[0] for path in exact if path is not None]
        # The section whose keys the arguments are, if the identities of some tell it.
        section = max(set(parents), key=parents.count) if parents else None
        return [self._recognised(name, value, path, section, defaults) for (name, value), path in zip(pairs, exact)]

    def made(self, arguments: List[Dict[str, Any]], made: Any, caller: Any) -> None:
        """``made``, a config, came of a call with ``arguments`` in the frame ``caller``: of which section it is."""
        if self.origins is None or not _CONFIG.search(type_name(made)):
            return
        parents = [str(a["path"]).rpartition(".")[0] for a in arguments if a["origin"] == "config" and a["certain"]]
        section = max(set(parents), key=parents.count) if parents else None
        # What code computed has no key; a default has the one that would have been taken.
        given = {a["name"]: None if a["origin"] == "default" else str(a["path"] or "") for a in arguments}
        self.origins.remember(made, section, given, caller)

    def _recognised(
        self, name: str, value: Any, exact: Optional[str], section: Optional[str], defaults: Dict[str, Any]
    ) -> Dict[str, Any]:
        assert self.origins is not None
        if exact is not None:
            return _described(name, value, ("config", exact, True), None, defaults)
        found = self.origins.by_name(value, name, section)
        if found is not None:
            # A small number of that name and value may be another one, but not in a class that takes its section.
            certain = found[1] == NAME and section is not None and found[0].rpartition(".")[0] == section
            return _described(name, value, ("config", found[0], certain), None, defaults)
        return _described(name, value, None, self.origins.section_of(value), defaults)


def _described(
    name: str,
    value: Any,
    key: Optional[Tuple[str, str, bool]],
    section: Optional[str],
    defaults: Dict[str, Any],
) -> Dict[str, Any]:
    if key is not None:
        origin, path, certain = key
    elif section is not None:
        origin, path, certain = "section", section, True
    else:
        standing_in = name in defaults and (value is defaults[name] or type_name(value) == "_HAS_DEFAULT_FACTORY_CLASS")
        origin, path, certain = "default" if standing_in else "code", None, True
    return {
        "name": name,
        "value": text(value),
        "type": type_name(value),
        "origin": origin,
        "path": path,
        "certain": certain,
    }


def _defaults(frame: Any) -> Dict[str, Any]:
    """Defaults of the function that runs in ``frame``, where it can be found without running anything."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount]
    owner = frame.f_locals.get(names[0]) if names else None
    kind = owner if isinstance(owner, type) else type(owner)
    for base in kind.__mro__:
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
    return str(type.__dict__["__name__"].__get__(type(value)))


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
