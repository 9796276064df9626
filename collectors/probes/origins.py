"""Where a value came from: which key of config.json, by the identity of what the JSON reader made.

Texts, fractions, lists, objects and numbers beyond the interpreter's small ones are objects of
their own for each place of the file, and stay the same objects on the way through dataclasses and
dicts. A small number, a boolean or null is recognised by its key's name and its value instead,
within the section that the call takes where that is known.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from mlx_diagnose.collectors.probes.identity import identity

_MAX_ENTRIES = 50_000

_NONE = object()
_JSON_TYPES = (str, int, float, bool, list, type(None))

#: How a key is recognised by name and value: it is the only such one, or one of several.
NAME, AMBIGUOUS = "name", "ambiguous"


class Made:
    """An object that was made from a section.

    ``given`` has the keys that its arguments came from, "" for what code computed and None for a
    default, in the order of its parameters; ``names`` the objects that the line which made it
    (``code``, ``line``) can have read.
    """

    __slots__ = ("code", "given", "line", "names", "owner", "section")

    def __init__(self, owner: Any, section: Optional[str], given: Dict[str, Optional[str]], caller: Any) -> None:
        self.owner, self.section, self.given = owner, section, given
        self.code: Any = caller.f_code if caller is not None else None
        self.line: int = caller.f_lineno if caller is not None else 0
        self.names: Dict[str, Any] = {}


class Origins:
    """The places of one config; paths are dotted."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._paths: Dict[int, str] = {}
        self._values: Dict[int, Any] = {}
        self._named: Dict[str, List[Tuple[str, Any]]] = {}
        self._sections: Dict[int, Made] = {}
        for count, (path, value) in enumerate(_walk(config)):
            if count >= _MAX_ENTRIES:
                break
            self._named.setdefault(path.rpartition(".")[2], []).append((path, value))
            if _is_own_object(value):
                if identity(value) in self._paths:
                    # The same object at two places (the reader shares some): neither is known.
                    self._paths[identity(value)] = ""
                else:
                    self._paths[identity(value)] = path
                    self._values[identity(value)] = value

    def exact(self, value: Any) -> Optional[str]:
        """The key whose very object ``value`` is."""
        if self._values.get(identity(value), _NONE) is value:
            return self._paths[identity(value)] or None
        return None

    def by_name(self, value: Any, name: str, section: Optional[str] = None) -> Optional[Tuple[str, str]]:
        """The key of that name and value, preferably of ``section``; and whether it is the only one."""
        if type(value) not in _JSON_TYPES:
            return None
        fitting = [path for path, given in self._named.get(name, ()) if _same(given, value)]
        if section is not None:
            fitting = [path for path in fitting if path.rpartition(".")[0] == section] or fitting
        if not fitting:
            return None
        return fitting[0], NAME if len(fitting) == 1 else AMBIGUOUS

    def has(self, path: str) -> bool:
        """Whether the config gives the key ``path`` (dotted)."""
        return any(known == path for known, _ in self._named.get(path.rpartition(".")[2], ()))

    def section_of(self, owner: Any) -> Optional[str]:
        """The section that ``owner`` is, or was made from; None where that is not known."""
        if owner is self._config:
            return ""
        if type(owner) is dict:
            if self._values.get(identity(owner), _NONE) is owner:
                return self._paths[identity(owner)] or None
            return self._by_content(owner)
        made = self.maker_of(owner)
        return made.section if made is not None else None

    def remember(self, owner: Any, section: Optional[str], given: Dict[str, Optional[str]], caller: Any) -> None:
        """``owner`` was made by the frame ``caller``, from ``section`` if that is known.

        It is kept, so that its identity stays its own.
        """
        if len(self._sections) >= _MAX_ENTRIES:
            return
        made = Made(owner, section, given, caller)
        if caller is not None and "" in given.values():
            held = dict(caller.f_locals)
            made.names = {
                name: value for name, value in held.items() if name == "self" or self.section_of(value) is not None
            }
        self._sections[identity(owner)] = made

    def maker_of(self, owner: Any) -> Optional[Made]:
        """How ``owner`` was made, where that is known."""
        known = self._sections.get(identity(owner))
        return known if known is not None and known.owner is owner else None

    def key_of(self, owner: Any, name: str) -> Optional[str]:
        """The key that the attribute ``name`` of a known section has its value from; None if code made it up."""
        section = self.section_of(owner)
        if section is None:
            return None
        made = self.maker_of(owner)
        if made is not None and made.given.get(name) is not None:
            return made.given[name] or None
        return "%s.%s" % (section, name) if section else name

    def _by_content(self, owner: Dict[Any, Any]) -> Optional[str]:
        """A copy or a filtered copy of a section: what its values' identities agree on."""
        found = {
            self._paths[identity(value)].rpartition(".")[0]
            for value in list(dict.values(owner))
            if self._values.get(identity(value), _NONE) is value and self._paths[identity(value)]
        }
        return found.pop() if len(found) == 1 else None


def _walk(config: Any) -> Iterator[Tuple[str, Any]]:
    queue: List[Tuple[str, Any]] = [("", config)]
    while queue:
        path, value = queue.pop(0)
        if path:
            yield path, value
        if isinstance(value, dict):
            queue.extend(("%s.%s" % (path, key) if path else str(key), item) for key, item in list(value.items()))
        elif isinstance(value, list) and len(value) <= 64:
            queue.extend(("%s.%d" % (path, index), item) for index, item in enumerate(value))


def _is_own_object(value: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int):
        return not -5 <= value <= 256
    return not (isinstance(value, str) and len(value) <= 1)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
