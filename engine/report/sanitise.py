r"""Foreign text made fit to be shown or stored: no secrets, nothing that a terminal would obey.

Config values, tensor names, file names and exception messages come from strangers. Secrets
are cut out wherever text leaves the process; control characters, which could move the cursor
or colour a lie green, and the invisible ones that reorder text are shown as ``\x1b``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

REDACTED = "[redacted]"

#: Environment variables whose value is a secret.
TOKEN_VARIABLES: tuple[str, ...] = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN")

# A shorter value cannot be told from an ordinary word.
_SHORTEST_TOKEN = 6

# Words such as hf_transfer and hf_hub_download are no tokens: a token has a digit, a capital or great length.
# It begins a word, though the letter before it may be the end of an escape (\n, \x00, \u200b).
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4}))"
_TOKEN = re.compile(
    _BEGIN + r"(?:hf|api_org)_(?:(?:jwt|oauth)_[\w.~+/=-]{8,}|(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,})"
    r"|(?:hf|api_org)_[A-Za-z0-9]{20,}"
)
_BEARER = re.compile(r"(?i)\b(bearer|authorization:\s*\w+)(\s+)[\w.~+/=-]{8,}")
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")

# Control characters but line feed, marks that reorder or hide text, and what cannot be encoded.
_UNFIT = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def tokens(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secret values that ``environ`` holds."""
    values = (environ.get(name, "").strip() for name in TOKEN_VARIABLES)
    return tuple(value for value in values if len(value) >= _SHORTEST_TOKEN)


def redact(text: str, secrets: tuple[str, ...] | None = None) -> str:
    """``text`` with access tokens and passwords replaced.

    ``secrets`` are values to replace whatever they look like; by default :func:`tokens` of
    the environment.
    """
    for secret in tokens(os.environ) if secrets is None else secrets:
        text = text.replace(secret, REDACTED)
    if "_" in text:
        text = _TOKEN.sub(REDACTED, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(REDACTED, text)
    return _BEARER.sub(rf"\1\2{REDACTED}", text)


def encodable(text: str) -> str:
    r"""``text`` with lone surrogates, which no encoding takes, written as ``\udcff``."""
    return _SURROGATE.sub(_escaped, text)


def lines(text: str) -> list[str]:
    """``text`` as lines that are safe to show, without secrets; a tab is one space, so that carets stay aligned."""
    shown = redact(text).replace("\r\n", "\n").replace("\t", " ")
    return [_UNFIT.sub(_escaped, line) for line in shown.split("\n")]


def one_line(text: str) -> str:
    """``text`` as a single safe line: runs of white space become one space."""
    return " ".join(" ".join(lines(text)).split())


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
