"""Values as Python source that ruff and black leave as it is, and that nothing in a value can break out of.

Text is in double quotes unless that takes more backslashes; what does not print, and what an editor
could take for a line's end, is escaped.
"""

from __future__ import annotations

from typing import Any

#: Longest line, as both formatters have it by default.
WIDTH = 88
INDENT = "    "


def literal(value: Any, depth: int = 0, *, at: int = 0) -> str:
    """``value`` (JSON, and tuples) as source. One line if it fits behind ``at`` characters, else an item a line.

    ``depth`` is the indentation, in steps, of the line in which it begins.
    """
    flat = _flat(value)
    if at + len(flat) <= WIDTH and not _has_text(value):
        return flat
    return _exploded(value, depth) if isinstance(value, (dict, list, tuple)) and value else flat


def text_literal(text: str) -> str:
    """A text as a source literal in one line of ASCII or printable characters."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    body = "".join(_escaped(char, quote) for char in text)
    return f"{quote}{body}{quote}"


def call(function: str, arguments: list[str], depth: int) -> str:
    """A call as a statement or an expression, an argument a line, at ``depth`` steps."""
    inner = INDENT * (depth + 1)
    return f"{function}(\n" + "".join(f"{inner}{argument},\n" for argument in arguments) + f"{INDENT * depth})"


def _escaped(char: str, quote: str) -> str:
    if char in (quote, "\\"):
        return f"\\{char}"
    if char in "\"'":
        return char
    return repr(char)[1:-1] if char.isascii() or not char.isprintable() else char


def _has_text(value: Any) -> bool:
    """A container with texts in it reads better an item a line."""
    return isinstance(value, dict) or (isinstance(value, (list, tuple)) and any(not _number(item) for item in value))


def _number(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or value is None


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return 'float("inf")' if value > 0 else 'float("-inf")'
    if isinstance(value, float) and value != value:
        return 'float("nan")'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(str(key))}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_flat, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def _exploded(value: Any, depth: int) -> str:
    inner = INDENT * (depth + 1)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]") if isinstance(value, list) else ("(", ")")
    rows = []
    if isinstance(value, dict):
        for key, item in value.items():
            name = text_literal(str(key))
            rows.append(f"{name}: {literal(item, depth + 1, at=len(inner) + len(name) + 3)}")
    else:
        rows.extend(literal(item, depth + 1, at=len(inner) + 1) for item in value)
    return opening + "\n" + "".join(f"{inner}{row},\n" for row in rows) + INDENT * depth + closing
