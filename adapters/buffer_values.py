"""The values of a small buffer as text, as they stand in an operation of a weight map."""

from __future__ import annotations

import base64
import binascii
import zlib


def packed(values: bytes) -> str:
    """Little-endian values as base64 of a zlib stream."""
    return base64.b64encode(zlib.compress(values, 9)).decode("ascii")


def unpacked(text: str, size: int) -> bytes:
    """The ``size`` bytes of ``text``. Raises ValueError where it does not hold just so many; never makes more."""
    try:
        stream = zlib.decompressobj()
        values = stream.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the values are not base64 of a zlib stream: {error}") from error
    if len(values) != size or not stream.eof:
        raise ValueError(f"there are not {size} bytes of values")
    return values
