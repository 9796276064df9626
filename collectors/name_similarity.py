"""How alike two names of config keys are: spelling, words, and names known to mean the same."""

from __future__ import annotations

import re
from functools import lru_cache

from mlx_diagnose.collectors.knowledge import table

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

#: Words that say the same in the name of a config key.
_SAME_WORDS = (
    ("num", "n", "nb", "number", "count", "no"),
    ("dim", "size", "sz", "dims", "dimension", "width", "channels", "channel", "ch"),
    ("layer", "layers", "blocks", "block", "depth"),
    ("head", "heads"),
    ("sample", "sampling", "sr"),
    ("rate", "rates", "hz"),
    ("max", "maximum"),
    ("length", "len", "positions", "position"),
    ("vocab", "vocabulary"),
    ("hidden", "model"),
    ("ffn", "ff", "feedforward", "intermediate"),
    ("eps", "epsilon"),
    ("norm", "normalization", "layernorm"),
    ("act", "activation"),
    ("attn", "attention", "att"),
    ("embed", "embedding", "embeddings", "emb", "embd"),
    ("enc", "encoder"),
    ("dec", "decoder"),
    ("config", "cfg", "args", "params"),
    ("lm", "llm", "language"),
    ("codebook", "codebooks", "quantizers", "vq"),
    ("token", "tokens"),
    ("id", "idx", "index"),
    ("spk", "speaker", "speakers"),
    ("kernel", "kernels"),
    ("dropout", "drop"),
)
_CANON = {word: group[0] for group in _SAME_WORDS for word in group}

#: From here on two names are worth telling; below it everything resembles everything.
THRESHOLD = 0.6
KNOWN_ALIAS = 0.95


@lru_cache(maxsize=1)
def _alias_groups() -> dict[str, int]:
    groups = table("aliases").get("groups", ())
    return {name: index for index, group in enumerate(groups) for name in group}


def known_aliases(one: str, other: str) -> bool:
    """Both names stand in one group of ``knowledge_base/aliases.yaml``."""
    groups = _alias_groups()
    return one != other and one.lower() in groups and groups[one.lower()] == groups.get(other.lower())


def is_common(name: str) -> bool:
    """A name that configs of many models use: it stands in one of the groups."""
    return name.lower() in _alias_groups()


def similarity(one: str, other: str) -> float:
    """Likeness of two key names, 0 to 1: 1 for the same, 0.95 and more for known aliases.

    >>> similarity("hidden_size", "hidden_dim") > 0.8
    True
    >>> similarity("text_vocab_size", "audio_vocab_size") < 0.6
    True
    """
    from rapidfuzz import fuzz

    if one == other:
        return 1.0
    spelling = fuzz.ratio(one.lower(), other.lower()) / 100
    if known_aliases(one, other):
        return round(max(KNOWN_ALIAS, spelling), 4)
    left, right = _words(one), _words(other)
    if left == right or _letters(one) == _letters(other):
        return 0.93
    unmatched = list(zip(right, _spelt(other), strict=True))
    matched = 0
    for word in zip(left, _spelt(one), strict=True):
        match = next((other_word for other_word in unmatched if _alike(word, other_word)), None)
        if match is not None:
            unmatched.remove(match)
            matched += 1
    words = 2 * matched / (len(left) + len(right)) if left or right else 0.0
    if matched < len(left) and unmatched:
        # Each has a word of its own (text_vocab_size, audio_vocab_size): they name different things.
        return round(min(words, spelling, 0.55), 4)
    if matched == len(left) == len(right):
        return round(max(0.85 * words, spelling), 4)
    return round(0.8 * words, 4)


def same_words(one: str, other: str) -> bool:
    """The last parts of two dotted paths are one name in two spellings: ``vocabSize``, ``vocab_size``."""
    return _letters(one.rpartition(".")[2]) == _letters(other.rpartition(".")[2])


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=4096)
def _spelt(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    return tuple(_CANON.get(word, word) for word in _spelt(name))


def _alike(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Two words, each as what it means and as it is spelt: they mean the same, or one is the other misspelt."""
    if _same_word(one[0], other[0]):
        return True
    known = one[1] in _CANON and other[1] in _CANON
    return not known and _same_word(one[1], other[1])


def _same_word(one: str, other: str) -> bool:
    from rapidfuzz import fuzz

    if one == other:
        return True
    if min(len(one), len(other)) < 3:
        return False
    return one.startswith(other) or other.startswith(one) or fuzz.ratio(one, other) >= 82
