"""Commands of rules, filled in: a value from a model or a machine stays one word, whatever it holds.

A value is quoted for where it stands in the template: bare, or inside quotes that the rule wrote.
Fields that hold shell text already (arguments that a collector quoted) are taken as they are.
"""

from __future__ import annotations

import shlex

from mlx_diagnose.engine.rulebase.template import Place, Resolver, Segment, Template, spoken

#: Fields that the vocabulary declares as quoted for a shell, or as arguments so quoted.
SHELL_FIELDS = frozenset({"assignment", "fetch", "locks", "quoted", "refetch"})


def shell_text(template: Template, resolve: Resolver) -> str | None:
    """The command, or None when a place has no value."""
    made, quote = "", ""
    for part in template.parts:
        inner = part.parts if isinstance(part, Segment) else (part,)
        values = [item if isinstance(item, str) else resolve(item) for item in inner]
        if any(value is None for value in values):
            if isinstance(part, Segment):
                continue
            return None
        for item, value in zip(inner, values, strict=True):
            if isinstance(item, Place):
                made += _quoted(item, spoken(value), quote)
            else:
                made += item
                quote = _open_quote(item, quote)
    return made


def _quoted(place: Place, value: str, quote: str) -> str:
    if quote == "'":
        return value.replace("'", "'\"'\"'")
    if quote == '"':
        return "".join(f"\\{char}" if char in '\\"$`' else char for char in value)
    if place.field in SHELL_FIELDS or _is_word(value):
        return value
    return shlex.quote(value)


def _is_word(value: str) -> bool:
    """One word as :func:`shlex.quote` writes it: a collector has quoted it already, or it needs no quotes."""
    try:
        words = shlex.split(value)
    except ValueError:
        return False
    return len(words) == 1 and shlex.quote(words[0]) == value


def _open_quote(text: str, quote: str) -> str:
    """The quote that is open behind ``text``, where ``quote`` was open before it."""
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    return quote
