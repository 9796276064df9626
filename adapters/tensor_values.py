"""Values of tensors as bytes: conversion between types, and computed buffers. Without NumPy or MLX.

bfloat16 is the upper half of a float32; rounding is to the nearest, ties to even, as MLX does.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

from mlx_diagnose.adapters.tensor_recipe import Computed
from mlx_diagnose.collectors.tensors import DTYPE_BITS

_CODES = {
    "bool": "B",
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "uint64": "Q",
    "int64": "q",
    "float32": "f",
    "float64": "d",
}
_FLOATS = ("float16", "bfloat16", "float32", "float64", "float8_e4m3", "float8_e5m2")
#: Elements that are made at a time.
_BLOCK = 1 << 18


def converted(data: bytes | bytearray | memoryview, source: str, target: str) -> bytes:
    """``data``, whole elements of type ``source``, as ``target``.

    Raises ValueError for a type that is not converted.
    """
    if source == target:
        return bytes(data)
    return _encoded(_decoded(bytes(data), source), target, source in _FLOATS)


def computed(buffer: Computed) -> Iterator[bytes]:
    """The bytes of a computed buffer, in pieces."""
    if buffer.how == "values":
        yield buffer.data
        return
    length = buffer.shape[-1] if buffer.shape else 1
    rows = prod(buffer.shape[:-1])
    for _ in range(rows):
        for start in range(0, length, _BLOCK):
            numbers = range(start, min(start + _BLOCK, length))
            values: Sequence[float]
            if buffer.how == "constant":
                values = [buffer.value] * len(numbers)
            elif buffer.how == "arange":
                values = [buffer.value + number for number in numbers]
            else:
                values = [buffer.value ** (-number / length) for number in numbers]
            yield _encoded(values, buffer.dtype, True)


def _decoded(data: bytes, dtype: str) -> Sequence[float]:
    if dtype == "bfloat16":
        wide = bytearray(2 * len(data))
        wide[2::4], wide[3::4] = data[0::2], data[1::2]
        return array("f", bytes(wide))
    if dtype == "float16":
        return struct.unpack(f"<{len(data) // 2}e", data)
    if dtype in _SMALL_FLOATS:
        table = _SMALL_FLOATS[dtype]()
        return [table[byte] for byte in data]
    code = _CODES.get(dtype)
    if code is None:
        raise ValueError(f"values of type {dtype} are not converted")
    return array(code, data)


def _encoded(values: Sequence[float], dtype: str, floats: bool) -> bytes:
    if dtype == "bfloat16":
        bits = array("I", array("f", values).tobytes())
        return array("H", [_upper_half(word) for word in bits]).tobytes()
    if dtype == "float16":
        return struct.pack(f"<{len(values)}e", *[_within_half(value) for value in values])
    if dtype == "bool":
        return bytes(value != 0 for value in values)
    code = _CODES.get(dtype)
    if code is None or dtype == "float64":
        raise ValueError(f"values are not converted to type {dtype}")
    if dtype == "float32":
        return array("f", values).tobytes()
    mask = (1 << DTYPE_BITS[dtype]) - 1
    whole = (int(value) for value in values) if floats else values
    wrapped = array(_CODES[dtype.replace("int", "uint") if dtype[0] == "i" else dtype], [int(v) & mask for v in whole])
    return wrapped.tobytes()


def _upper_half(word: int) -> int:
    if word & 0x7FFFFFFF > 0x7F800000:
        return word >> 16 | 0x40  # stays not a number
    return word + 0x7FFF + (word >> 16 & 1) >> 16


def _within_half(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) >= 65520 else value


def _small_float(exponent_bits: int, bias: int, infinities: bool) -> list[float]:
    mantissa_bits = 7 - exponent_bits
    table = []
    for byte in range(256):
        exponent, mantissa = byte >> mantissa_bits & (1 << exponent_bits) - 1, byte & (1 << mantissa_bits) - 1
        if exponent == 0:
            value = math.ldexp(mantissa, 1 - bias - mantissa_bits)
        elif infinities and exponent == (1 << exponent_bits) - 1:
            value = math.nan if mantissa else math.inf
        elif not infinities and byte & 0x7F == 0x7F:
            value = math.nan
        else:
            value = math.ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits)
        table.append(-value if byte & 0x80 else value)
    return table


_SMALL_FLOATS: Mapping[str, Callable[[], list[float]]] = {
    "float8_e4m3": lambda: _small_float(4, 7, False),
    "float8_e5m2": lambda: _small_float(5, 15, True),
}
