"""The words of a tensor's name, those that mean the same as one."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Words of names that mean the same.
_SAME: Mapping[str, str] = {
    "query": "q",
    "key": "k",
    "value": "v",
    "wq": "q",
    "wk": "k",
    "wv": "v",
    "wo": "o",
    "output": "o",
    "out": "o",
}
_WORD = re.compile(r"[a-z]+|[0-9]+")


def words(name: str) -> set[str]:
    """``encoder.query_proj`` as encoder, q and proj."""
    return {_SAME.get(word, word) for word in _WORD.findall(name.lower())}
