"""What a JSON parser's complaint most likely means, in words."""

from __future__ import annotations

import json
import re

_LITERALS = {"True": "true", "False": "false", "None": "null", "undefined": "null"}


def explain_json_error(text: str, error: json.JSONDecodeError) -> str:
    """The parser's message, and the likely slip where one is recognised (trailing comma, comment, quotes, ...)."""
    slip = _slip(text, error.pos)
    return f"{error.msg}: {slip}" if slip else str(error.msg)


def _slip(text: str, position: int) -> str | None:
    if text.startswith("\ufeff"):
        return "the file starts with a byte order mark; save it as UTF-8 without one"
    rest = text[position : position + 200]
    bare = rest.lstrip()
    before = text[:position].rstrip()
    if not bare:
        return "the file ends here; it looks cut off"
    if bare.startswith(("//", "/*", "#")):
        return "a comment; JSON has none"
    if before.endswith(",") and bare[0] in "}]":
        return f"a comma before the closing {bare[0]}; JSON allows none there"
    if bare.startswith(",") and re.match(r",\s*[}\]]", bare):  # Python 3.13 points at the comma
        return f"a comma before the closing {bare[1:].lstrip()[0]}; JSON allows none there"
    if bare[0] == "'":
        return "single quotes; JSON strings take double quotes"
    if bare[0] in "“”‘’«»":
        return f'a typographic quotation mark {bare[0]}; JSON strings take "'
    if bare.startswith(("<<<<<<<", "=======", ">>>>>>>")):
        return "a merge conflict was left unresolved"
    if bare.startswith("<"):
        return "this looks like HTML, not JSON: a saved web page or an error page"
    word = re.match(r"[A-Za-z_$][\w$]*", bare)
    if word:
        if word[0] in _LITERALS:
            return f"{word[0]} is not JSON; write {_LITERALS[word[0]]}"
        return f"{word[0]} stands there without quotes"
    if bare[0] == '"' and before.endswith(('"', "}", "]", *"0123456789", "true", "false", "null")):
        return "a comma is missing before this"
    return None
