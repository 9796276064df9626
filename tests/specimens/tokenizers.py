"""Tokenizers that are real and tiny: a word-level fast one (the product's), a WordPiece one, a sentencepiece one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from mlx_diagnose.engine.specimen import write_tokenizer

__all__ = ["write_bert_tokenizer", "write_sentencepiece", "write_tokenizer"]

_WORDS = ("hello", "world")


def write_bert_tokenizer(directory: Path) -> None:
    """``vocab.txt``, ``tokenizer.json`` and ``tokenizer_config.json`` of a BertTokenizer."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS]
    added = [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, token in enumerate(vocabulary[:5])
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(vocabulary)},
        },
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": 512}),
        encoding="utf-8",
    )


def write_sentencepiece(file: Path, size: int = 32) -> None:
    """A unigram sentencepiece model (``tokenizer.model``) of ``size`` pieces, at least 32.

    The file is a protobuf ``ModelProto``; its field 1 repeats pieces of (1 text, 2 score,
    3 type), where types are 2 unknown, 3 control, 1 normal. Field 2 is the trainer's settings
    (3 = model type: 1 unigram), field 3 the normaliser's.
    """
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    pieces += [(text, 1) for text in ("\u2581", *"abcdefghijklmnopqrstuvwxyz", "\u2581hello", "\u2581world")]
    pieces += [(f"\u2581{number}", 1) for number in range(size - len(pieces))]
    body = b""
    for number, (text, kind) in enumerate(pieces):
        piece = _field(1, text.encode()) + b"\x15" + struct.pack("<f", -float(number)) + b"\x18" + bytes([kind])
        body += _field(1, piece)
    body += _field(2, b"\x18\x01")
    body += _field(3, _field(1, b"identity"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)


def _field(number: int, content: bytes) -> bytes:
    length = len(content)
    size = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    return bytes([number << 3 | 2]) + size + content
