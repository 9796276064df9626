"""Which part of config.json an argument of a constructor is: by identity, by content, by name and value."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

#: Containers that are indexed at most; a config has tens.
_MAX_NODES = 20000
#: Scalars so small occur everywhere and point to nothing, unless the name agrees.
_TRIVIAL = (None, True, False, 0, 1, -1, 0.0, 1.0, "")
_NOTHING = object()


class ArgumentOrigins:
    """Origins in the config ``raw``, as read from config.json.

    :meth:`know` tells it of objects that the patient made of the config, such as a tree of
    dataclasses: what hangs on one at ``a.b`` came from the section ``a.b``.
    """

    def __init__(self, raw: Any) -> None:
        self._paths: Dict[int, str] = {}
        self._kept: List[Any] = []
        self._sections = [(path, value) for path, value in _walk(raw) if isinstance(value, dict) and value]
        self._leaves = [(path, value) for path, value in _walk(raw) if not isinstance(value, dict)]

    def know(self, config: Any) -> None:
        """Index ``config``, a whole config as the patient's code holds it."""
        self._index(config, "")

    def _index(self, config: Any, base: str) -> None:
        for path, value in _walk(config, base):
            if _contents(value):
                self._paths.setdefault(id(value), path)
                self._kept.append(value)  # an id means an object only as long as the object lives

    def of(self, arguments: List[Tuple[str, Any]]) -> Dict[str, Any]:
        """``{"section": dotted path or None, "keys": [dotted paths]}`` of named arguments.

        The section is the largest part of the config that is passed whole, "" for all of it.
        """
        section: Optional[str] = None
        keys: List[str] = []
        for name, value in arguments:
            found = self._section(value)
            if found is not None:
                section = found if section is None or len(found) < len(section) else section
            elif not _contents(value):
                key = self._key(name, value)
                if key is not None and key not in keys:
                    keys.append(key)
        return {"section": section, "keys": keys}

    def _section(self, value: Any) -> Optional[str]:
        contents = _contents(value)
        if not contents:
            return None
        if id(value) in self._paths:
            return self._paths[id(value)]
        best, share = None, 0.5
        for path, section in self._sections:
            same = sum(1 for key, item in section.items() if _same(contents.get(key, _NOTHING), item))
            if same >= 2 and same / len(section) > share:
                best, share = path, same / len(section)
        if best is not None:
            self._index(value, best)
        return best

    def _key(self, name: str, value: Any) -> Optional[str]:
        equal = [path for path, leaf in self._leaves if _same(value, leaf)]
        named = [path for path in equal if path.rpartition(".")[2] == name]
        if named:
            return named[0]
        trivial = any(value is item or (type(value) is type(item) and value == item) for item in _TRIVIAL)
        return equal[0] if len(equal) == 1 and not trivial else None


def _same(value: Any, leaf: Any) -> bool:
    if isinstance(leaf, dict):
        contents = _contents(value)
        if not contents:
            return False
        alike = sum(1 for key, item in leaf.items() if _same(contents.get(key, _NOTHING), item))
        return alike * 2 > len(leaf)
    if isinstance(value, tuple):
        value = list(value)
    try:
        return isinstance(value, bool) == isinstance(leaf, bool) and bool(value == leaf)
    except BaseException:
        return False


def _contents(value: Any) -> Dict[str, Any]:
    """Named contents of a dict or of an object that is a record; nothing for arrays, modules and the like."""
    if isinstance(value, dict):
        # An mlx.nn.Module is a dict too.
        return value if type(value) is dict else {}
    if isinstance(value, type) or callable(value) or hasattr(value, "shape"):
        return {}
    try:
        return {str(key): item for key, item in vars(value).items() if not str(key).startswith("_")}
    except TypeError:
        return {}


def _walk(root: Any, base: str = "") -> Iterator[Tuple[str, Any]]:
    """Everything in a config with its dotted path; lists of containers are gone into, others are leaves."""
    stack: List[Tuple[str, Any]] = [(base, root)]
    seen: Set[int] = set()
    while stack and len(seen) < _MAX_NODES:
        path, value = stack.pop()
        contents = _contents(value)
        listed = isinstance(value, (list, tuple)) and any(_contents(item) for item in value)
        if contents or listed:
            if id(value) in seen:
                continue
            seen.add(id(value))
        yield path, value
        items = contents.items() if contents else enumerate(value) if listed else ()
        for key, item in items:
            stack.append(("%s.%s" % (path, key) if path else str(key), item))
