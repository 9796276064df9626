"""Headers of safetensors files, read strictly and without trust.

A file is ``<u64 header length><JSON header><body>``; the header says type, shape and place of
every tensor, so it tells all that loading needs without a byte of weights. It is written by
strangers: nothing in it makes this module raise, and what is allocated is bounded by the header's true
length (at most :data:`MAX_HEADER`, and never more than the file has), not by what it claims.

The JSON is taken entry by entry. A whole-document parser would build everything that stands
in the document before the first look at it, nested to any depth.

Format: https://huggingface.co/docs/safetensors (Format). What MLX checks was measured with
mlx 0.32: lengths, types, sizes against shapes, ends against the file; neither overlaps nor
names given twice.
"""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import BinaryIO

from mlx_diagnose.collectors.tensors import DTYPE_BITS, SAFETENSORS_DTYPES, TensorInfo
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.weights_file import WeightsFile, contents, examine, lfs_pointer

#: The longest header that safetensors and MLX take, in bytes.
MAX_HEADER = 100_000_000
#: The longest entry of one tensor and the longest ``__metadata__`` that are read, in bytes.
MAX_ENTRY = 1 << 16
MAX_METADATA = 1 << 24
#: Axes of a tensor; NumPy has 64, MLX's own operations far fewer.
MAX_AXES = 64

#: Types of the format that MLX's reader refuses ("unsupported dtype").
UNREADABLE_DTYPES = frozenset(
    {"F64", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F6_E2M3", "F6_E3M2", "F4"},
)

_W = rb"[ \t\r\n]*"
_NUMBER = rb"(0|[1-9][0-9]{0,18})"
_HEAD = _W.join((rb"", rb'"([^"\\\x00-\x1f]{0,4096})"', rb":", rb"\{", rb""))
_DTYPE = _W.join((rb'"dtype"', rb":", rb'"([A-Z0-9_]{1,16})"'))
_SHAPE = _W.join((rb'"shape"', rb":", rb"\[([0-9, \t\r\n]{0,512})\]"))
_OFFSETS = _W.join((rb'"data_offsets"', rb":", rb"\[", _NUMBER, rb",", _NUMBER, rb"\]"))
_COMMA = _W + rb"," + _W
_END = _W + rb"\}"
#: The two orders in which entries are written: that of the Rust library, and MLX's, sorted.
_RUST = re.compile(_HEAD + _DTYPE + _COMMA + _SHAPE + _COMMA + _OFFSETS + _END)
_MLX = re.compile(_HEAD + _OFFSETS + _COMMA + _DTYPE + _COMMA + _SHAPE + _END)
_AXES = re.compile(_W + rb"(?:" + _NUMBER + rb"(?:" + _COMMA + _NUMBER + rb")*)?" + _W)

_SPACE = re.compile(_W)
_BRACKET = re.compile(rb'["{}\[\]]')


class _Corrupt(Exception):
    """The header is not sound; the text says where."""


def read(path: Path, file: str | None = None) -> WeightsFile:
    """The safetensors file at ``path``, called ``file`` in the result (its name, if not given). Never raises."""
    return examine(path, path.name if file is None else file, "safetensors", _read)


def header_size(first: bytes) -> int | None:
    """Bytes from the start of a file to the end of its header, from its ``first`` eight; None if they are nonsense."""
    length = int.from_bytes(first[:8], "little")
    return 8 + length if len(first) >= 8 and length <= MAX_HEADER else None


def parse(data: bytes, size: int, file: str = "") -> WeightsFile:
    """The same from the first bytes of a file of ``size`` bytes: at least :func:`header_size` of them, or all.

    For headers fetched by range. Raises ValueError when ``data`` ends before the header and
    before the file.
    """
    if size == 0:
        return WeightsFile(file, "safetensors", "empty", detail="the file has no content")
    pointer = lfs_pointer(data[:1024], size)
    if pointer is not None:
        return WeightsFile(file, "safetensors", pointer.state, size, pointer.expected_size, detail=pointer.detail)
    needed = header_size(data)
    if needed is not None and len(data) < min(needed, size):
        raise ValueError(f"the header takes {needed} bytes, only {len(data)} were given")
    return _parse(data, size, file)


def _read(stream: BinaryIO, size: int) -> WeightsFile:
    first = stream.read(512)
    needed = header_size(first)
    rest = stream.read(needed - len(first)) if needed is not None and len(first) < needed <= size else b""
    return _parse(first + rest, size, "")


def _parse(data: bytes, size: int, file: str) -> WeightsFile:
    def result(state: str, detail: str, expected: int | None = None) -> WeightsFile:
        return WeightsFile(file, "safetensors", state, size, expected, detail=detail)

    if size < 8:
        return result("truncated", f"the file has {size} bytes, fewer than the eight that give the header's length")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        what = contents(data[:512])
        if what is not None:
            return result("header-corrupt", f"it is not a safetensors file but {what}")
        return result("header-too-large", f"it claims a header of {length} bytes; the limit is {MAX_HEADER}")
    if 8 + length > size:
        return result("truncated", f"its header takes {8 + length} bytes, the file has {size}")
    header = _Header(data, 8, 8 + length)
    try:
        header.parse()
        return header.judge(file, size)
    except _Corrupt as error:
        return result("header-corrupt", str(error))


class _Header:
    """The JSON header in ``data[start:end]``, taken entry by entry."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._position = start + 3 if data.startswith(b"\xef\xbb\xbf", start, end) else start
        self._end = end
        self._tensors: dict[str, TensorInfo] = {}
        self._infos: dict[tuple[str, bytes], tuple[TensorInfo, int]] = {}
        self._places: list[tuple[int, int, str]] = []
        self._reach = 0
        self._in_order = True
        self._twice: str | None = None
        self._unreadable: tuple[str, str] | None = None

    # -- verdict -------------------------------------------------------------------------

    def judge(self, file: str, size: int) -> WeightsFile:
        """The file of ``size`` bytes whose parsed header this is."""
        expected = self._end + self._reach
        state, detail, tolerated = "ok", None, False
        overlap, unused = (None, 0) if self._in_order else self._gaps()
        if expected > size:
            beyond = [name for _, end, name in self._places if self._end + end > size]
            state = "truncated"
            detail = (
                f"{size} of {expected} bytes are there; {len(beyond)} of {len(self._tensors)} tensors "
                f"lie beyond the end, {_quoted(beyond[0])} is one"
            )
        elif self._twice is not None:
            state, detail, tolerated = "header-corrupt", f"tensor {_quoted(self._twice)} is given twice", True
        elif overlap is not None:
            state, tolerated = "overlap", True
            detail = f"tensors {_quoted(overlap[0])} and {_quoted(overlap[1])} share bytes"
        elif size > expected or unused:
            detail = f"{size - expected + unused} bytes belong to no tensor"
        if self._unreadable is not None and state != "truncated":
            name, dtype = self._unreadable
            state, tolerated = "unsupported-dtype", False
            detail = f"tensor {_quoted(name)} has type {dtype}, which MLX does not read"
        return WeightsFile(file, "safetensors", state, size, expected, self._tensors, detail, tolerated)

    def _gaps(self) -> tuple[tuple[str, str] | None, int]:
        """The first two tensors that share bytes, and how many bytes lie unused between tensors."""
        reach, holder, unused = 0, "", 0
        for start, end, name in sorted(self._places):
            if start < reach and start < end:
                return (holder, name), 0
            unused += max(0, start - reach)
            if end >= reach:
                reach, holder = end, name
        return None, unused

    # -- entries -------------------------------------------------------------------------

    def parse(self) -> None:
        """Take every entry. Raises _Corrupt."""
        if self._next() != b"{":
            raise _Corrupt("the header is not a JSON object")
        self._position += 1
        if self._next() == b"}":
            self._position += 1
        else:
            while True:
                self._entry()
                mark = self._next()
                self._position += 1
                if mark == b"}":
                    break
                if mark != b",":
                    raise _Corrupt(f"the header's JSON breaks off at byte {self._position - 1}")
        if self._next():
            raise _Corrupt(f"something follows the header's JSON at byte {self._position}")

    def _entry(self) -> None:
        for form, (dtype, shape, start, end) in ((_RUST, (2, 3, 4, 5)), (_MLX, (4, 5, 2, 3))):
            found = form.match(self._data, self._position, self._end)
            if found is not None:
                try:
                    name = found[1].decode()
                except UnicodeDecodeError:
                    raise _Corrupt(f"a tensor's name at byte {self._position} is not UTF-8") from None
                if name != "__metadata__":
                    self._position = found.end()
                    self._add(name, found[dtype].decode(), found[shape], int(found[start]), int(found[end]))
                    return
        self._next()
        name = self._string()
        if self._next() != b":":
            raise _Corrupt(f"{_quoted(name)} has no value")
        self._position += 1
        if name == "__metadata__":
            self._metadata()
        else:
            self._unusual(name)

    def _unusual(self, name: str) -> None:
        """An entry in no usual form: further keys, escapes, another order."""
        if self._next() != b"{":
            raise _Corrupt(f"the entry of tensor {_quoted(name)} is not an object")
        text = self._data[self._position : self._closing(name)]
        self._position += len(text)
        try:
            entry = json.loads(text.decode(), parse_constant=_refuse, parse_int=_bounded)
        except (ValueError, RecursionError):
            raise _Corrupt(f"the entry of tensor {_quoted(name)} is not JSON") from None
        match entry:
            case {"dtype": str() as dtype, "shape": [*axes], "data_offsets": [start, end]} if len(
                axes
            ) <= MAX_AXES and all(type(number) is int and 0 <= number < 1 << 63 for number in (*axes, start, end)):
                self._add(name, dtype, ",".join(map(str, axes)).encode(), start, end)
            case _:
                raise _Corrupt(f"the entry of tensor {_quoted(name)} lacks a usable dtype, shape or data_offsets")

    def _add(self, name: str, dtype: str, axes: bytes, start: int, end: int) -> None:
        info, size = self._infos.get((dtype, axes)) or self._info(name, dtype, axes)
        if end - start != size:
            raise _Corrupt(
                f"tensor {_quoted(name)} of type {dtype} and shape {info.shape} takes {size} bytes, "
                f"its offsets ({start}, {end}) give it {end - start}"
            )
        if name in self._tensors:
            self._twice = name
        self._tensors[name] = info
        self._places.append((start, end, name))
        self._in_order = self._in_order and start == self._reach
        self._reach = max(self._reach, end)

    def _info(self, name: str, dtype: str, axes: bytes) -> tuple[TensorInfo, int]:
        known = SAFETENSORS_DTYPES.get(dtype)
        if known is None:
            raise _Corrupt(f"tensor {_quoted(name)} has the unknown type {_quoted(dtype)}")
        if _AXES.fullmatch(axes) is None or axes.count(b",") >= MAX_AXES:
            raise _Corrupt(f"the shape of tensor {_quoted(name)} is not a list of numbers")
        shape = tuple(map(int, axes.split(b","))) if axes.strip() else ()
        bits = DTYPE_BITS[known] * prod(shape)
        if bits % 8 or bits >= 1 << 66:
            raise _Corrupt(f"tensor {_quoted(name)} of type {dtype} cannot have the shape {_cut(str(shape))}")
        if dtype in UNREADABLE_DTYPES and self._unreadable is None:
            self._unreadable = (name, dtype)
        result = self._infos[dtype, axes] = (TensorInfo(known, shape), bits // 8)
        return result

    def _metadata(self) -> None:
        """Skip ``__metadata__``, a flat object of strings. MLX and safetensors refuse any other value."""
        if self._data.startswith(b"null", self._position, self._end):
            self._position += 4
            return
        start = self._position
        if self._next() != b"{":
            raise _Corrupt("__metadata__ is not an object")
        self._position += 1
        if self._next() == b"}":
            self._position += 1
            return
        while True:
            self._next()
            key = self._string(MAX_METADATA)
            if self._next() != b":":
                raise _Corrupt(f"__metadata__: {_quoted(key)} has no value")
            self._position += 1
            if self._next() != b'"':
                raise _Corrupt(f"__metadata__: the value of {_quoted(key)} is not a string")
            self._string(MAX_METADATA)
            mark = self._next()
            self._position += 1
            if mark == b"}":
                return
            if mark != b",":
                raise _Corrupt(f"__metadata__ breaks off at byte {self._position - 1}")
            if self._position - start > MAX_METADATA:
                raise _Corrupt(f"__metadata__ takes more than {MAX_METADATA} bytes")

    # -- JSON ----------------------------------------------------------------------------

    def _next(self) -> bytes:
        """The byte at the next position that is not white space; empty at the end.

        A NUL is the end too: MLX's parser takes it so, and some writers pad with it.
        """
        found = _SPACE.match(self._data, self._position, self._end)
        assert found is not None  # it matches nothing at all as well
        self._position = found.end()
        return self._data[self._position : min(self._position + 1, self._end)].rstrip(b"\0")

    def _string(self, limit: int = MAX_ENTRY) -> str:
        """The JSON string at the position."""
        start = self._position
        if not self._data.startswith(b'"', start, self._end):
            raise _Corrupt(f"the header's JSON breaks off at byte {start}")
        position = start + 1
        while True:
            quote = self._data.find(b'"', position, min(self._end, start + limit))
            if quote < 0:
                raise _Corrupt(f"a string at byte {start} of the header does not end")
            between = self._data[position:quote]
            position = quote + 1
            if (len(between) - len(between.rstrip(b"\\"))) % 2 == 0:
                break
        self._position = position
        try:
            text = json.loads(self._data[start:position].decode())
            text.encode()  # an escaped lone surrogate is no character
        except ValueError:
            raise _Corrupt(f"a string at byte {start} of the header is not valid") from None
        return str(text)

    def _closing(self, name: str) -> int:
        """Where the object at the position ends. Does not move."""
        depth, position = 0, self._position
        limit = min(self._end, position + MAX_ENTRY)
        while True:
            found = _BRACKET.search(self._data, position, limit)
            if found is None or depth > 16:
                raise _Corrupt(f"the entry of tensor {_quoted(name)} does not end within {MAX_ENTRY} bytes")
            position = found.end()
            if found[0] == b'"':
                self._position, before = found.start(), self._position
                self._string()
                self._position, position = before, self._position
            elif found[0] in b"{[":
                depth += 1
            else:
                depth -= 1
                if depth == 0:
                    return position


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _bounded(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("a number is too long")
    return int(digits)


def _quoted(name: str) -> str:
    return f"'{_cut(name)}'"


def _cut(text: str) -> str:
    return clean(text, 200)
