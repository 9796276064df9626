"""Which regular expressions a rule may use: those whose search cannot take for ever.

Python's matcher backtracks, and it cannot be interrupted. Texts in facts are at most 2000
characters long, so a search whose cost grows with the third power of the length stays
within about two seconds on the worst text; everything beyond that is refused when the rule
is loaded:

- something of varying width, or with alternatives, inside a repetition: ``(a+)*``,
  ``(a|ab)*`` (exponential);
- more than two open repetitions whose end is ambiguous, because what follows may also be
  part of what is repeated: ``.*a.*b.*c``. Those whose end is clear, as in ``'[^']*'`` or
  ``\\d+\\.\\d+``, count as one behind the last ambiguous one and as none before it. A
  pattern that starts with ``^`` may have one more;
- back references, and repetitions inside look-around;
- more than 200 ways to choose among optional parts.
"""

from __future__ import annotations

import importlib
import re
import sys
from functools import cache
from typing import Any

_MAX_EXPONENT = 3
_MAX_CHOICES = 200
_MAX_LENGTH = 500
#: A bounded repetition with less play than this counts as a choice, not as open.
_OPEN_FROM = 10

#: Stands for every character beyond ASCII in the character sets below.
_OTHER = "\u0416"
_ALPHABET = frozenset([chr(code) for code in range(128)] + [_OTHER])
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})

_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


class _Refused(Exception):
    pass


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled once."""
    return re.compile(pattern)


def refusal(pattern: str) -> str | None:
    """Why a rule may not use ``pattern``, or None if it may."""
    if len(pattern) > _MAX_LENGTH:
        return f"it is longer than {_MAX_LENGTH} characters"
    try:
        parsed = _parser.parse(pattern)
        compiled(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"it is not a valid regular expression: {error}"
    items = list(parsed)
    anchored = bool(items) and str(items[0][0]) == "AT" and str(items[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    walk = _Walk()
    try:
        walk.sequence(items, None)
    except _Refused as refused:
        return str(refused)
    if walk.choices > _MAX_CHOICES:
        return "it has too many optional parts, so that a search could take for ever"
    if walk.loose + walk.tail + (0 if anchored else 1) > _MAX_EXPONENT:
        return (
            "it has too many open repetitions (such as .*) whose end is ambiguous, so that a search could take for "
            "ever; use [^...]* up to a delimiter, or several tests (contains)"
        )
    return None


class _Walk:
    """Right to left over a parsed pattern, knowing which characters may follow (None: the end)."""

    def __init__(self) -> None:
        #: Open repetitions whose end is ambiguous; and 1 if one that is not follows the last of them.
        self.loose = 0
        self.tail = 0
        self.choices = 1

    def sequence(self, items: list[Any], follow: frozenset[str] | None) -> frozenset[str] | None:
        for op, argument in reversed(items):
            follow = self._item(str(op), argument, follow)
        return follow

    def _item(self, op: str, argument: Any, follow: frozenset[str] | None) -> frozenset[str] | None:
        if op in _REPEATS:
            return self._repeat(argument, follow)
        if op == "SUBPATTERN":
            return self.sequence(list(argument[-1]), follow)
        if op == "ATOMIC_GROUP":
            return self.sequence(list(argument), follow)
        if op == "BRANCH":
            self.choices *= len(argument[1])
            firsts = [self.sequence(list(branch), follow) for branch in argument[1]]
            known = [first for first in firsts if first is not None]
            return frozenset().union(*known) if len(known) == len(firsts) else None
        if op == "AT":
            return follow
        if op in ("ASSERT", "ASSERT_NOT"):
            if _repeats(list(argument[1])):
                raise _Refused("it repeats something inside a look-around")
            return follow
        characters = _characters(op, argument)
        if characters is None:
            raise _Refused("it uses a back reference or a condition, which a rule may not")
        return characters

    def _repeat(self, argument: Any, follow: frozenset[str] | None) -> frozenset[str] | None:
        low, high, body = int(argument[0]), int(argument[1]), argument[2]
        items = list(body)
        if high > 1:
            least, most = body.getwidth()
            if least != most or most == 0 or _branches(items):
                raise _Refused(
                    "it repeats something of varying width or with alternatives, so that a search could take for ever"
                )
        first = self.sequence(items, _ALPHABET)
        if high - low >= _OPEN_FROM:
            single = len(items) == 1 and _characters(str(items[0][0]), items[0][1]) is not None
            ambiguous = first is None or (follow is not None and bool(first & follow))
            if ambiguous or (not single and follow is not None):
                self.loose += 1
            elif self.loose == 0:
                self.tail = 1
        elif high > low:
            self.choices *= high - low + 1
        if low > 0:
            return first
        return None if first is None or follow is None else first | follow


def _children(op: str, argument: Any) -> list[list[Any]]:
    if op in _REPEATS:
        return [list(argument[2])]
    if op == "SUBPATTERN":
        return [list(argument[-1])]
    if op == "ATOMIC_GROUP":
        return [list(argument)]
    if op == "BRANCH":
        return [list(branch) for branch in argument[1]]
    return []


def _repeats(items: list[Any]) -> bool:
    return any(
        (str(op) in _REPEATS and argument[1] > 1) or any(_repeats(child) for child in _children(str(op), argument))
        for op, argument in items
    )


def _branches(items: list[Any]) -> bool:
    return any(
        str(op) == "BRANCH" or any(_branches(child) for child in _children(str(op), argument)) for op, argument in items
    )


def _characters(op: str, argument: Any) -> frozenset[str] | None:
    """The characters that a one-character item stands for; None if it is not one."""
    if op == "LITERAL":
        return _both_cases(chr(argument))
    if op == "NOT_LITERAL":
        return _ALPHABET - {chr(argument)}
    if op == "ANY":
        return _ALPHABET
    if op != "IN":
        return None
    found: set[str] = set()
    negated = False
    for what, value in argument:
        name = str(what)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found |= _both_cases(chr(value)) if not negated else {chr(value)}
        elif name == "RANGE":
            found |= {char for char in _ALPHABET if value[0] <= ord(char) <= value[1]}
            if value[1] > 127 and not negated:
                found.add(_OTHER)
        elif name == "CATEGORY":
            found |= _category(str(value))
    if not negated:
        return frozenset(found)
    return _ALPHABET - (frozenset(found) - {_OTHER})


def _both_cases(char: str) -> frozenset[str]:
    """Both cases, since the pattern may ignore them; one stand-in beyond ASCII."""
    return frozenset({char.lower(), char.upper()}) if char.isascii() else frozenset({_OTHER})


def _category(name: str) -> set[str]:
    shorthand = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.rsplit("_", 1)[-1]]
    wanted = compiled(shorthand if "NOT" not in name else shorthand.upper())
    # Beyond ASCII there are characters in and out of every category.
    return {char for char in _ALPHABET if wanted.match(char)} | {_OTHER}
