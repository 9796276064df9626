"""Text from files and exceptions made fit to be a fact: valid Unicode, no control characters."""

from __future__ import annotations

import json
import re

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str, limit: int | None = None) -> str:
    r"""``text`` with control characters and lone surrogates written as ``\uXXXX``, cut to ``limit`` characters.

    Facts go to engines that hold C strings and to terminals: neither may meet a NUL, an
    escape sequence or what cannot be encoded. Tab, line feed and carriage return stay.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _UNFIT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_type(value: object) -> str:
    """The JSON name of the type of ``value``: object, array, string, number, boolean or null."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return "null" if value is None else "number"


def json_text(value: object, limit: int = 500) -> str:
    """``value`` as one line of JSON, non-ASCII kept, cut to ``limit`` characters."""
    try:
        return clean(json.dumps(value, ensure_ascii=False, default=str), limit)
    except RecursionError:  # what one Python's parser takes, another's writer may not
        return f"(a deeply nested {json_type(value)})"


def scalar_text(value: object, limit: int = 500) -> str | None:
    """JSON text of a scalar, strings unquoted; None for an object or an array."""
    if isinstance(value, (dict, list)):
        return None
    return clean(value, limit) if isinstance(value, str) else json_text(value, limit)
