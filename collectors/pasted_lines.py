"""Pasted text as plain lines: decoded, without colours, quote marks and what a progress bar wrote over."""

from __future__ import annotations

import codecs
import re

#: Characters of a paste that are read; of a longer one the end counts, where the failure stands.
MAX_CHARACTERS = 5_000_000

_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Escape sequences (ECMA-48 CSI, OSC such as links, two-character ones), also colours that lost their escape.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]|\[\d{1,3}(?:;\d{1,3})*m"
)
_QUOTE = re.compile(r" {0,3}(?:> ?)+")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")


def decode(data: bytes) -> str:
    """``data`` as text: UTF-8, or what its byte order mark says (PowerShell redirects in UTF-16).

    Never fails; what does not decode becomes U+FFFD.
    """
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def plain_lines(text: str) -> list[str]:
    """The lines of the last :data:`MAX_CHARACTERS` of ``text``.

    Only line feeds end a line: what other characters Python counts as line ends may stand in a message.
    """
    text = _INVISIBLE.sub("", _ESCAPES.sub("", text[-MAX_CHARACTERS:])).replace("\xa0", " ")
    return [_plain(line) for line in text.replace("\r\n", "\n").split("\n")]


def _plain(line: str) -> str:
    if "\r" in line:  # a progress bar: what was written last is what was seen
        line = line.rstrip("\r").rpartition("\r")[2]
    if ">" in line[:4] and not line.startswith(">>>"):
        quoted = _QUOTE.match(line)
        line = line[quoted.end() :] if quoted else line
    return line
