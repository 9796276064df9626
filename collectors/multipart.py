"""The parts of an answer to a request for several ranges (RFC 9110, section 14.6, ``multipart/byteranges``)."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(r'^multipart/byteranges\s*;.*\bboundary="?([^";,\s]{1,70})"?', re.IGNORECASE)
_RANGE = re.compile(rb"^content-range:\s*bytes (\d{1,18})-(\d{1,18})/", re.IGNORECASE | re.MULTILINE)
#: Bytes that a part takes besides its content: boundary, type, range.
OVERHEAD = 300


def boundary(content_type: str) -> bytes | None:
    """What separates the parts; None for an answer that has none."""
    found = _BOUNDARY.match(content_type)
    return found[1].encode("latin-1") if found is not None else None


def parts(body: bytes, separator: bytes) -> list[tuple[int, bytes]]:
    """The whole parts of ``body`` with where they start in the file; one that was cut off is left out."""
    found = []
    at = 0
    while (start := body.find(b"--" + separator, at)) >= 0:
        head = start + 2 + len(separator)
        end = body.find(b"\r\n\r\n", head)
        told = _RANGE.search(body[head : end + 2]) if end >= 0 else None
        if told is None:
            break
        first, last = int(told[1]), int(told[2])
        at = end + 4 + last - first + 1
        if last < first or at > len(body):
            break
        found.append((first, body[end + 4 : at]))
    return found
