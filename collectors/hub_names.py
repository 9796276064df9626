"""Names of files in a repository: which may become paths here, and what the loader does with them.

They come over the network, so they are no paths until they were looked at.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

#: Names that Windows takes for devices, with any extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_UNFIT = re.compile('[\x00-\x1f\x7f\\\\:*?"<>|\ud800-\udfff]')
_LONGEST = 240

#: Small files that a load reads, and those that only people read.
_TEXTS = {".json", ".txt", ".jinja", ".yaml", ".yml", ".tiktoken", ".model", ".jsonl", ".spm", ".vocab", ".bpe"}
_PEOPLE = re.compile(r"(readme|licen[cs]e|notice|changelog|citation|requirements).*", re.IGNORECASE)
#: A vocabulary takes some 20 MB at most; what is larger is data.
_SMALL = 32 << 20
#: Of whatever kind: statistics, filter banks.
_TINY = 4 << 20

_NATIVE = (".model", ".tiktoken", ".spm", ".vocab", ".bpe")
#: What nearly every load reads, in order.
_FIRST = ("config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def is_repository(name: str) -> bool:
    """Whether ``name`` is ``owner/name`` as the hub writes it."""
    return re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name, re.ASCII) is not None


def is_safe(name: str) -> bool:
    """Whether ``name`` may become a path below a folder of ours: no way out, no device, nothing strange."""
    parts = name.split("/")
    return (
        0 < len(name.encode("utf-8", "replace")) <= _LONGEST * 4
        and not _UNFIT.search(name)
        and all(part and part not in (".", "..") and len(part) <= _LONGEST for part in parts)
        and not any(_DEVICES.match(part) or part != part.rstrip(" .") for part in parts)
    )


def is_hidden(name: str) -> bool:
    """Whether a part of ``name`` begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def is_safetensors(name: str) -> bool:
    """Whether its name says that a file has a header that tells all of it."""
    return name.endswith(".safetensors")


def is_archive(name: str) -> bool:
    """Whether its name says that a file is an archive of arrays, each with a header of its own."""
    return name.endswith(".npz")


def is_read_by_header(name: str, size: int | None) -> bool:
    """Whether nothing but the header of a file is fetched, whatever it is for: archives may be small tables."""
    return is_safetensors(name) or (is_archive(name) and (size is None or size > _TINY))


def is_read_by_loader(name: str) -> bool:
    """Whether mlx-audio reads it as weights of the model itself (``mlx_audio/utils.py::load_weights``)."""
    return "/" not in name and is_safetensors(name)


def is_small(name: str, size: int | None) -> bool:
    """Whether a load may read the file as text, and it is small enough to be fetched whole."""
    path = PurePosixPath(name)
    return (
        path.suffix.lower() in _TEXTS
        and not _PEOPLE.fullmatch(path.name)
        and not is_hidden(name)
        and (size is None or size <= _SMALL)
    )


def is_told(name: str) -> bool:
    """Whether a file is worth a word though nothing of it was looked at: one that a load may read."""
    return "/" not in name and (is_safetensors(name) or is_archive(name) or is_small(name, None))


def is_fetched_on_demand(name: str, size: int | None) -> bool:
    """Whether a file that the load turned out to read may be fetched: its header, or all of what is small."""
    return is_read_by_header(name, size) or is_small(name, size) or (size is not None and size <= _TINY)


def is_read_natively(name: str) -> bool:
    """Whether native code reads the file, which nobody sees: tokenizers, sentencepiece, tiktoken."""
    return name.rpartition("/")[2] == "tokenizer.json" or name.endswith(_NATIVE)


def priority(name: str, present: frozenset[str]) -> int | None:
    """How soon a small file is wanted, the least first; None where a load does not read it unasked.

    A tokenizer in one file makes its parts superfluous (``transformers``' fast tokenizers).
    """
    order = (
        "config.json",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
    )
    if name in order:
        return order.index(name)
    if name.endswith(".index.json") and "/" not in name:
        return 1
    if "tokenizer.json" not in present and name in ("vocab.json", "merges.txt", "vocab.txt", "special_tokens_map.json"):
        return 5
    return 6 if is_read_natively(name) else None
