"""Tokenizers of a loaded model that have no vocabulary: transformers makes some without any of their files."""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Iterator, List, Tuple

_MAX_DEPTH = 3
_MAX_OBJECTS = 400
_TOKENIZER = "PreTrainedTokenizerBase"


def report(model: Any, send: Callable[..., None]) -> None:
    """Send what :func:`found` finds, if anything."""
    bare = found(model)
    if bare:
        send("bare_tokenizers", tokenizers=bare)


def found(model: Any) -> List[Dict[str, Any]]:
    """``[{"part": "model._tokenizer", "class_name", "tokens"}]``: ``tokens`` are those besides the vocabulary."""
    if "transformers" not in sys.modules:
        return []
    bare: Dict[int, Dict[str, Any]] = {}
    for part, held in _held(model):
        if id(held) in bare or not any(base.__name__ == _TOKENIZER for base in type(held).__mro__):
            continue
        added = {str(token) for token in held.added_tokens_decoder.values()}
        if len(held) <= len(added) and not set(held.get_vocab()) - added:
            bare[id(held)] = {"part": part, "class_name": type(held).__name__, "tokens": len(added)}
    return list(bare.values())


def _held(model: Any) -> Iterator[Tuple[str, Any]]:
    """What the model and the parts of it that mlx_audio defines hold as attributes."""
    queue = [("model", model, 0)]
    seen = {id(model)}
    while queue:
        path, owner, depth = queue.pop(0)
        held = dict(getattr(owner, "__dict__", {}))
        if issubclass(type(owner), dict):
            held.update((name, value) for name, value in dict.items(owner) if isinstance(name, str))
        for name, value in held.items():
            part = "%s.%s" % (path, name)
            yield part, value
            ours = type(value).__module__.startswith("mlx_audio.")
            if ours and depth < _MAX_DEPTH and id(value) not in seen and len(seen) < _MAX_OBJECTS:
                seen.add(id(value))
                queue.append((part, value, depth + 1))
