"""Specimens: checkpoints that have the real names, shapes and types, and cost next to nothing.

A safetensors file is ``<u64 header length><JSON header><body>`` and MLX checks, when it
opens one, only that the offsets lie within the file. The body may therefore be a hole: a
30 GB checkpoint takes the disk space of its header, some 100 kB. Random bodies, for code
that reads values, hold small finite numbers.

Tensor tables with hundreds of layers stay readable collapsed: ``layers.{0..27}.weight``
stands for 28 tensors of one type and shape (:func:`collapse`, :func:`expand`).

Format: https://huggingface.co/docs/safetensors (Format); names of types as in its header.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import prod
from os import SEEK_CUR
from pathlib import Path
from typing import IO, Literal, TypeAlias

Shape: TypeAlias = tuple[int, ...]
#: A tensor without its values: type name of safetensors, shape.
Tensor: TypeAlias = tuple[str, Shape]
Body: TypeAlias = Literal["hole", "random"]

#: Bytes per element of the types that MLX reads from safetensors.
ITEM_SIZES: Mapping[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}

_CHUNK = 1 << 20

# Translation of random bytes so that the number they are part of is small and finite: the
# top byte of a float keeps its sign and gets an exponent below 1, integers keep four bits.
_SIGN_AND_EXPONENT = bytes((byte & 0x80) | 0x3C | (byte & 1) for byte in range(256))
_SIGN_AND_EXPONENT_F16 = bytes((byte & 0x83) | 0x24 for byte in range(256))
_EXPONENT_F64 = bytes(0x80 | (byte & 0x2F) for byte in range(256))
_SIGN_F64 = bytes((byte & 0x80) | 0x3F for byte in range(256))
_FOUR_BITS = bytes(byte & 0x0F for byte in range(256))
_ONE_BIT = bytes(byte & 1 for byte in range(256))
_ZERO = bytes(256)
_SMALL_F8 = bytes((byte & 0x80) | (byte & 0x1F) for byte in range(256))

#: Per type, from the lowest byte of an element up; None leaves a byte random.
_TRANSLATIONS: Mapping[str, tuple[bytes | None, ...]] = {
    "BOOL": (_ONE_BIT,),
    "U8": (_FOUR_BITS,),
    "I8": (_FOUR_BITS,),
    "F8_E4M3": (_SMALL_F8,),
    "U16": (_FOUR_BITS, _ZERO),
    "I16": (_FOUR_BITS, _ZERO),
    "F16": (None, _SIGN_AND_EXPONENT_F16),
    "BF16": (None, _SIGN_AND_EXPONENT),
    "U32": (None, None, None, None),  # packed quantised weights: any bits are valid
    "I32": (_FOUR_BITS, _ZERO, _ZERO, _ZERO),
    "F32": (None, None, None, _SIGN_AND_EXPONENT),
    "U64": (_FOUR_BITS, *(_ZERO,) * 7),
    "I64": (_FOUR_BITS, *(_ZERO,) * 7),
    "F64": (None,) * 6 + (_EXPONENT_F64, _SIGN_F64),
    "C64": (None, None, None, _SIGN_AND_EXPONENT) * 2,
}


def byte_size(tensor: Tensor) -> int:
    """Bytes that the values of ``tensor`` take. Raises ValueError for an unknown type or a negative axis."""
    dtype, shape = tensor
    if dtype not in ITEM_SIZES:
        raise ValueError(f"unknown safetensors type {dtype!r}; known are {', '.join(ITEM_SIZES)}")
    if any(axis < 0 for axis in shape):
        raise ValueError(f"a shape has no negative axis: {shape}")
    return ITEM_SIZES[dtype] * prod(shape)


def write_safetensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str] | None = None,
    body: Body = "hole",
    seed: int = 0,
    random_bytes: int | None = None,
) -> None:
    """Write a safetensors file with ``tensors`` in their order.

    ``body="hole"`` leaves the values unwritten (they read as zeros and take no disk space
    where the file system has sparse files); ``"random"`` writes small finite numbers, the
    same for the same ``seed`` and names: all of them, or the first ``random_bytes`` of each
    tensor, the rest a hole. Nothing larger than 1 MiB is held in memory. Raises ValueError
    for an unknown type.
    """
    header: dict[str, object] = {}
    if metadata is not None:
        header["__metadata__"] = dict(metadata)
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + byte_size(tensor)
        header[name] = {"dtype": tensor[0], "shape": list(tensor[1]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the body starts aligned
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
        if body == "random":
            for name, tensor in tensors.items():
                _write_random(file, name, tensor, seed, random_bytes)


def write_sharded(
    directory: Path,
    tensors: Mapping[str, Tensor],
    *,
    shards: int,
    stem: str = "model",
    index: bool = True,
    metadata: Mapping[str, str] | None = None,
    body: Body = "hole",
    seed: int = 0,
) -> tuple[str, ...]:
    """Write ``tensors`` as ``shards`` files in directory order; returns their names.

    Names are ``model-00001-of-00003.safetensors``; with ``index`` a
    ``model.safetensors.index.json`` (``weight_map``, ``metadata.total_size`` in bytes) is
    written beside them. Raises ValueError when there are fewer tensors than shards.
    """
    if not 1 <= shards <= len(tensors):
        raise ValueError(f"{len(tensors)} tensors cannot be split into {shards} files")
    names = list(tensors)
    weight_map: dict[str, str] = {}
    files = []
    for number in range(shards):
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        write_safetensors(
            directory / file, {name: tensors[name] for name in part}, metadata=metadata, body=body, seed=seed
        )
        weight_map.update(dict.fromkeys(part, file))
        files.append(file)
    if index:
        total = sum(map(byte_size, tensors.values()))
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)
        (directory / f"{stem}.safetensors.index.json").write_text(text + "\n", encoding="utf-8")
    return tuple(files)


def _write_random(file: IO[bytes], name: str, tensor: Tensor, seed: int, limit: int | None) -> None:
    source = random.Random(f"{seed}:{name}")
    translations = _TRANSLATIONS[tensor[0]]
    step = len(translations)
    hole = byte_size(tensor)
    size = hole if limit is None else min(hole, limit // step * step)
    hole -= size
    for start in range(0, size, _CHUNK):  # the chunk is a multiple of every item size
        block = bytearray(source.randbytes(min(_CHUNK, size - start)))
        for offset, table in enumerate(translations):
            if table is not None:
                block[offset::step] = block[offset::step].translate(table)
        file.write(block)
    file.seek(hole, SEEK_CUR)


# -- tokenizers ---------------------------------------------------------------------------


def write_tokenizer(directory: Path, tokens: Iterable[str] = (), **settings: object) -> None:
    """``tokenizer.json`` and ``tokenizer_config.json`` of a real, tiny, word-level tokenizer with special ``tokens``.

    ``settings`` go into tokenizer_config.json.
    """
    special = ["<unk>", "<pad>", "<s>", "</s>", *tokens]
    vocabulary = {token: number for number, token in enumerate([*special, "hello", "world"])}
    added = [
        {
            "id": vocabulary[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in special
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        **settings,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


# -- collapsed tables ---------------------------------------------------------------------

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def collapse(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names that differ in a number, with equal type and shape, as one: ``layers.{0..27}.weight``.

    Only whole runs of numbers are merged, one position at a time, so that
    :func:`expand` gives back exactly the same names; their order may differ.
    """
    table = {tuple(name.split(".")): tensor for name, tensor in tensors.items()}
    for position in range(max(map(len, table), default=0)):
        runs: defaultdict[tuple[tuple[str, ...], tuple[str, ...], Tensor], list[int]] = defaultdict(list)
        collapsed: dict[tuple[str, ...], Tensor] = {}
        for parts, tensor in table.items():
            # A leading zero (layers.007) would not survive expansion.
            if len(parts) > position and parts[position].isdecimal() and str(int(parts[position])) == parts[position]:
                rest = (parts[:position], parts[position + 1 :], tensor)
                runs[rest].append(int(parts[position]))
            else:
                collapsed[parts] = tensor
        for (before, after, tensor), numbers in runs.items():
            for first, last in _runs(sorted(numbers)):
                part = str(first) if first == last else f"{{{first}..{last}}}"
                name = (*before, part, *after)
                collapsed[name] = tensor
        table = collapsed
    return {".".join(parts): tensor for parts, tensor in table.items()}


def expand(table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`collapse`: every ``{first..last}`` written out, names in order."""
    return {name: tensor for pattern, tensor in table.items() for name in _names(pattern)}


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last


def _names(pattern: str) -> Iterator[str]:
    parts = _RANGE.split(pattern)  # text, first, last, text, first, last, text
    ranges = [range(int(first), int(last) + 1) for first, last in zip(parts[1::3], parts[2::3], strict=True)]
    texts = parts[::3]
    for numbers in product(*ranges):
        yield texts[0] + "".join(str(number) + text for number, text in zip(numbers, texts[1:], strict=True))
