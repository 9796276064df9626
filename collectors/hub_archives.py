"""Headers of the arrays of an ``.npz`` file on the hub, by range: its directory, then the headers side by side.

The directory stands at the end of the archive and tells where each array begins; the header of an
array, its type and shape, stands there. What comes of it is an archive of the same arrays
with the very headers and holes for values, uncompressed, which MLX reads lazily like any other.
Formats: APPNOTE.TXT of PKWARE and https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial

from mlx_diagnose.collectors import hub_jobs
from mlx_diagnose.collectors.hub_client import HubClient, Piece
from mlx_diagnose.collectors.hub_headers import MAX_FETCHED, Header, twice
from mlx_diagnose.collectors.hub_problems import HubFailure, Problem

#: What is asked for first, from the end: the directory of some 200 arrays.
TAIL = 16 << 10
#: Ranges of one request, requests of an archive, and requests where a server gives one range at a time.
BATCH = 100
MAX_BATCHES = 8
MAX_SINGLE = 64
#: Headers that lie closer together than this are one range.
_NEAR = 512
#: Bytes of an array's own header, and of the compressed beginning that surely holds one.
_STORED, _COMPRESSED = 256, 512
_LOCAL = 30
_LARGEST = 1 << 44
_CHECKED = 1 << 16
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError, struct.error)


def fetch(client: HubClient, repo: str, commit: str, file: str, size: int | None) -> Header:
    """The archive with holes for values. What is no archive is told by its first bytes. Raises HubFailure."""
    if size is None:
        raise HubFailure(Problem("not-a-hub", None, "the size of the file is told nowhere", client.host, file))
    known = _Known(size)
    start = max(size - TAIL, 0)
    tail = twice(lambda: client.read(repo, file, commit, start, size)) if size else Piece(b"", "", 0, False)
    known.add(start, tail.data)
    directory = _directory_start(tail.data, start)
    if directory is None:
        first = tail.data[:512] if start == 0 else twice(lambda: client.read_at(tail.url, 0, 512, file)).data
        return Header(file, first, size)
    if start - directory > MAX_FETCHED:
        raise HubFailure(Problem("too-large", None, "its directory is too long", client.host, file))
    if directory < start:
        known.add(directory, twice(lambda: client.read_at(tail.url, directory, start, file)).data)
    try:
        with zipfile.ZipFile(known) as archive:
            members = archive.infolist()
    except _BROKEN:
        return Header(file, tail.data[:512] if start == 0 else b"PK\x03\x04", size)
    if sum(member.file_size for member in members) > _LARGEST:
        raise HubFailure(Problem("too-large", None, "its arrays claim more than any disk holds", client.host, file))
    spans = _spans(members, size)
    _read(client, tail.url, file, spans, known)
    return _ghost(file, [(member, _header(known, member)) for member in members])


def _directory_start(tail: bytes, offset: int) -> int | None:
    """Where the directory begins, by the record at the end of the archive; None where there is none."""
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        return None
    length, start = struct.unpack_from("<2L", tail, end + 12)
    large = tail.rfind(b"PK\x06\x06", 0, end)
    if large >= 0 and len(tail) >= large + 56:
        length, start = struct.unpack_from("<2Q", tail, large + 40)
    return int(start) if start + length <= offset + end else None


def _spans(members: Sequence[zipfile.ZipInfo], size: int) -> list[tuple[int, int]]:
    """Where the headers of the arrays stand, with what is close together in one."""
    spans: list[tuple[int, int]] = []
    for member in sorted(members, key=lambda member: member.header_offset):
        start = member.header_offset
        own = _STORED if member.compress_type == zipfile.ZIP_STORED else _COMPRESSED
        own = min(own, member.compress_size)
        end = min(start + _LOCAL + len(member.orig_filename.encode("utf-8", "replace")) + 32 + own, size)
        if spans and start <= spans[-1][1] + _NEAR:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        elif start < end:
            spans.append((start, end))
    return spans


def _read(client: HubClient, url: str, file: str, spans: list[tuple[int, int]], known: _Known) -> None:
    """Read ``spans`` into ``known``: many a request where the server gives them so, else one each."""
    spans = [(start, end) for start, end in spans if not known.has(start, end)]
    batches = [spans[at : at + BATCH] for at in range(0, len(spans), BATCH)]
    if len(batches) > MAX_BATCHES:
        raise HubFailure(Problem("too-large", None, f"it holds {len(spans)} arrays apart", client.host, file))
    if len(spans) > 1:
        for batch in batches:
            came = twice(partial(client.read_ranges, url, batch, file))
            if came is None:
                break
            for start, data in came:
                known.add(start, data)
        spans = [(start, end) for start, end in spans if not known.has(start, end)]
    if len(spans) > MAX_SINGLE:
        detail = f"the server gives one range a request, and the headers of its arrays stand in {len(spans)}"
        raise HubFailure(Problem("too-large", None, detail, client.host, file))
    jobs = [partial(client.read_at, url, start, end, file) for start, end in spans]
    for (start, _), result in zip(spans, hub_jobs.run_all(jobs, client.deadline), strict=True):
        if isinstance(result, BaseException):
            raise result
        known.add(start, result.data)


def _header(known: _Known, member: zipfile.ZipInfo) -> bytes:
    """The first bytes of an array: its header, as far as it was read."""
    local = known.at(member.header_offset, _LOCAL)
    if len(local) < _LOCAL or not local.startswith(b"PK\x03\x04"):
        return b""
    name, extra = struct.unpack_from("<2H", local, 26)
    start = member.header_offset + _LOCAL + name + extra
    data = known.at(start, min(_COMPRESSED, member.compress_size))
    if member.compress_type == zipfile.ZIP_DEFLATED:
        try:
            data = zlib.decompressobj(-15).decompress(data, 4 * _STORED)
        except zlib.error:
            return b""
    elif member.compress_type != zipfile.ZIP_STORED:
        return b""
    wide = data[6:7] in (b"\x02", b"\x03")
    length = struct.unpack_from("<L" if wide else "<H", data, 8)[0] if len(data) >= 12 else 0
    return data[: (12 if wide else 10) + length]


class _Known(io.RawIOBase):
    """A file of which some pieces are known; the rest reads as nothing but zeros."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: list[tuple[int, bytes]] = []
        self._position = 0

    def add(self, start: int, data: bytes) -> None:
        """``data`` is what stands at ``start``."""
        self._pieces.append((start, data))

    def has(self, start: int, end: int) -> bool:
        """Whether one piece holds all from ``start`` to ``end``."""
        return any(at <= start and end <= at + len(data) for at, data in self._pieces)

    def at(self, start: int, length: int) -> bytes:
        """What is known from ``start`` on, up to ``length`` bytes."""
        found = [data[start - at : start - at + length] for at, data in self._pieces if at <= start < at + len(data)]
        return max(found, key=len, default=b"")

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if self._position < 0:
            raise OSError("before the beginning")
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, length: int = -1) -> bytes:
        end = self._size if length < 0 else min(self._position + length, self._size)
        parts = []
        while self._position < end:
            data = self.at(self._position, end - self._position)
            if not data:
                ahead = [at for at, _ in self._pieces if at > self._position]
                data = bytes(min([*ahead, end]) - self._position)
            parts.append(data)
            self._position += len(data)
        return b"".join(parts)


def _ghost(file: str, members: Sequence[tuple[zipfile.ZipInfo, bytes]]) -> Header:
    """An archive of ``members`` with their headers and holes for values. Sizes are those of the extra field (zip64)."""
    pieces: list[tuple[int, bytes]] = []
    directory = io.BytesIO()
    at = 0
    for member, header in members:
        name = member.orig_filename.encode("utf-8", "replace")
        sizes = struct.pack("<2H2Q", 1, 16, member.file_size, member.file_size)
        header = header[: member.file_size]
        # Checked at the end of an array: whoever reads the header of a short one comes to it.
        short = member.file_size <= _CHECKED
        checksum = zlib.crc32(bytes(member.file_size - len(header)), zlib.crc32(header)) if short else 0
        fixed = struct.pack("<5HL2L", 45, 0x800, 0, 0, 0x21, checksum, 0xFFFFFFFF, 0xFFFFFFFF)
        local = b"PK\x03\x04" + fixed + struct.pack("<2H", len(name), len(sizes)) + name + sizes
        pieces.append((at, local + header))
        extra = struct.pack("<2H3Q", 1, 24, member.file_size, member.file_size, at)
        directory.write(b"PK\x01\x02" + struct.pack("<H", 45) + fixed)
        directory.write(struct.pack("<5H2L", len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF) + name + extra)
        at += len(local) + member.file_size
    listed, count = directory.getvalue(), len(members)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(listed), at)
    end += struct.pack("<4sLQL", b"PK\x06\x07", 0, at + len(listed), 1)
    end += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    pieces.append((at, listed + end))
    return Header(file, pieces[0][1], at + len(listed) + len(end), tuple(pieces[1:]))
