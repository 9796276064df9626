"""The bytes of a mended tensor, piece by piece, from the files that hold what it is made of.

No piece is longer than some megabytes, however large the tensor. A reordered view is read in
blocks of its first axis: what a block needs is read in the order in which it is stored, and put
in the order that is wanted by copying strided slices, one along the longest axis at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Literal, TypeAlias

from mlx_diagnose.adapters.tensor_values import computed, converted
from mlx_diagnose.adapters.tensor_views import Chain, Conversion, Form, View, Whole, row_major
from mlx_diagnose.collectors.tensors import DTYPE_BITS

#: Where a stored tensor lies: file descriptor and offset in bytes.
Locate: TypeAlias = Callable[[str], tuple[int, int]]

#: Bytes of a block that is reordered in memory, and of a piece that is handed on.
BLOCK = 32 << 20
PIECE = 4 << 20
#: Bytes of a block for which NumPy is worth its import.
WITH_NUMPY = 1 << 20

_ITEM: Mapping[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def stream(of: Form, locate: Locate) -> Iterator[bytes]:
    """The bytes of ``of``, row by row. Raises OSError where a file ends early."""
    if isinstance(of, View):
        yield from _view(of, locate)
    elif isinstance(of, Whole):
        data = b"".join(computed(of.of))
        yield bytes(_reordered(data, of.view, item_size(of.dtype), of.view.offset))
    elif isinstance(of, Conversion):
        yield from _conversion(of, locate)
    else:
        yield from _chain(of, locate)


def contiguous(view: View) -> bool:
    """The view is one run of bytes, in order."""
    expected = row_major(view.shape)
    pairs = zip(view.shape, view.strides, expected, strict=True)
    return 0 in view.shape or all(length == 1 or stride == usual for length, stride, usual in pairs)


def item_size(dtype: str) -> int:
    """Bytes of an element. Types of less than a byte are never taken apart."""
    return max(DTYPE_BITS[dtype] // 8, 1)


def read(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    """So many bytes of a file, in pieces. Raises OSError where it ends before."""
    end = offset + length
    while offset < end:
        piece = os.pread(descriptor, min(PIECE, end - offset), offset)
        if not piece:
            raise OSError("the file became shorter while it was read")
        yield piece
        offset += len(piece)


def _conversion(of: Conversion, locate: Locate) -> Iterator[bytes]:
    size = item_size(of.of.dtype)
    rest = b""
    for piece in stream(of.of, locate):
        data = rest + piece
        whole = len(data) - len(data) % size
        rest = data[whole:]
        yield converted(memoryview(data)[:whole], of.of.dtype, of.dtype)


def _chain(of: Chain, locate: Locate) -> Iterator[bytes]:
    streams = [_Reader(stream(part, locate)) for part in of.parts]
    lengths = [prod(part.shape[of.axis :]) * item_size(of.dtype) for part in of.parts]
    for _ in range(prod(of.shape[: of.axis])):
        for reader, length in zip(streams, lengths, strict=True):
            yield from reader.take(length)


class _Reader:
    """Takes given numbers of bytes off a stream of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def take(self, length: int) -> Iterator[bytes]:
        while length:
            if not self._piece:
                self._piece = memoryview(next(self._pieces))
                continue
            taken, self._piece = self._piece[:length], self._piece[length:]
            length -= len(taken)
            yield bytes(taken)


def _view(view: View, locate: Locate) -> Iterator[bytes]:
    size = item_size(view.dtype)
    if 0 in view.shape:
        return
    if contiguous(view):
        descriptor, start = locate(view.name)
        yield from read(descriptor, start + view.offset * size, prod(view.shape) * size)
        return
    row = prod(view.shape[1:]) * size
    rows = max(1, BLOCK // max(row, 1))
    if row > BLOCK and len(view.shape) > 1:
        for index in range(view.shape[0]):
            offset = view.offset + index * view.strides[0]
            yield from _view(View(view.name, view.dtype, view.shape[1:], view.strides[1:], offset), locate)
        return
    for first in range(0, view.shape[0], rows):
        shape = (min(rows, view.shape[0] - first), *view.shape[1:])
        offset = view.offset + first * view.strides[0]
        yield from _block(View(view.name, view.dtype, shape, view.strides, offset), size, locate)


def _block(view: View, size: int, locate: Locate) -> Iterator[bytes]:
    """One block, read as it is stored and reordered."""
    order = sorted(range(len(view.shape)), key=lambda axis: -view.strides[axis])
    compact = row_major(tuple(view.shape[axis] for axis in order))
    strides = tuple(compact[order.index(axis)] for axis in range(len(order)))
    # The axes that are stored without a gap between them make one run.
    run, inner = 1, len(order)
    while inner and (view.shape[order[inner - 1]] == 1 or view.strides[order[inner - 1]] == run):
        inner -= 1
        run *= view.shape[order[inner]]
    descriptor, start = locate(view.name)
    data = bytearray(prod(view.shape) * size)
    at = 0
    for index in product(*(range(view.shape[axis]) for axis in order[:inner])):
        skipped = sum(number * view.strides[axis] for number, axis in zip(index, order, strict=False))
        offset = start + (view.offset + skipped) * size
        for piece in read(descriptor, offset, run * size):
            data[at : at + len(piece)] = piece
            at += len(piece)
    wanted = View(view.name, view.dtype, view.shape, strides)
    yield bytes(_reordered(data, wanted, size, 0))


def _reordered(data: bytes | bytearray, view: View, size: int, offset: int) -> bytes | bytearray:
    """The elements of ``data`` that ``view`` names by strides, row by row."""
    quicker = _with_numpy(data, view, size, offset) if len(data) >= WITH_NUMPY else None
    return _by_slices(data, view, size, offset) if quicker is None else quicker


def _with_numpy(data: bytes | bytearray, view: View, size: int, offset: int) -> bytes | None:
    """The same several times as fast, where there is NumPy: mlx-audio brings it, we do not ask for it."""
    try:
        import numpy as np
    except ImportError:
        return None
    strides = tuple(stride * size for stride in view.strides)
    return bytes(np.ndarray(view.shape, f"V{size}", data, offset * size, strides).tobytes())


def _by_slices(data: bytes | bytearray, view: View, size: int, offset: int) -> bytearray:
    shape, strides = view.shape, view.strides
    result = bytearray(prod(shape) * size)
    if not result:
        return result
    if not shape:
        result[:] = data[offset * size : (offset + 1) * size]
        return result
    source, target = memoryview(data).cast(_ITEM[size]), memoryview(result).cast(_ITEM[size])
    places = row_major(shape)
    longest = max(range(len(shape)), key=lambda axis: (shape[axis], axis))
    length, step, place = shape[longest], strides[longest], places[longest]
    others = [axis for axis in range(len(shape)) if axis != longest]
    for index in product(*(range(shape[axis]) for axis in others)):
        start = offset + sum(number * strides[axis] for number, axis in zip(index, others, strict=True))
        at = sum(number * places[axis] for number, axis in zip(index, others, strict=True))
        target[at : at + (length - 1) * place + 1 : place] = source[start : start + (length - 1) * step + 1 : step]
    return result
