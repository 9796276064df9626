"""Headers of safetensors files on the hub, by range: at most two requests a file, and nothing of the weights.

The length of a header stands in its first eight bytes. To have it with the first request as a
rule, its size is estimated from the names that the index gives the file; a single file has no
index, and what is asked for first is what the bound on superfluous bytes allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from mlx_diagnose.collectors.hub_client import HubClient, Piece
from mlx_diagnose.collectors.hub_problems import DECIDED, HubFailure, Problem
from mlx_diagnose.collectors.safetensors_header import header_size

#: Headers that are fetched; the largest known have some 10 MB.
MAX_FETCHED = 32 << 20
#: What is asked for first where nothing is known: enough to tell what else a file is.
FIRST = 512
#: ``"":{"dtype":"BF16","shape":[4096,4096],"data_offsets":[,]},`` and ``{"__metadata__":{"format":"pt"}}``.
_ENTRY, _FRAME = 60, 48


Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a file, to the end of its header where it has one, and the size of the whole.

    ``more`` are further pieces that are known, with where they stand.
    """

    file: str
    data: bytes
    size: int
    more: tuple[tuple[int, bytes], ...] = ()


def estimate(names: Iterable[str], size: int) -> int:
    """Bytes to the end of the header of a file of ``size`` bytes that holds tensors of these ``names``."""
    digits = len(str(size))
    return 8 + _FRAME + sum(len(name.encode()) + _ENTRY + 2 * digits for name in names)


def fetch(client: HubClient, repo: str, commit: str, file: str, size: int | None, first: int) -> Header:
    """The header of a file. ``first`` bytes are asked for at first. Raises HubFailure."""
    if size == 0:
        return Header(file, b"", 0)
    first = max(first, 8) if size is None else min(max(first, 8), size)
    piece = twice(lambda: client.read(repo, file, commit, 0, first))
    size = piece.size if size is None else size
    if size is None:
        raise HubFailure(Problem("not-a-hub", None, "the size of the file is told nowhere", client.host, file))
    data = piece.data
    needed = header_size(data)
    if needed is None or needed > size:
        return Header(file, data, size)
    if needed > MAX_FETCHED:
        raise HubFailure(Problem("too-large", None, f"its header takes {needed} bytes", client.host, file))
    if needed > len(data):
        start = 0 if piece.whole else len(data)
        rest = twice(lambda: _rest(client, piece, repo, commit, file, start, needed))
        data = data[:start] + rest.data
    return Header(file, data[:needed], size)


def _rest(client: HubClient, piece: Piece, repo: str, commit: str, file: str, start: int, end: int) -> Piece:
    """The rest, from where the beginning came from."""
    try:
        return client.read_at(piece.url, start, end, file)
    except HubFailure as failure:
        if failure.problem.status != 403:
            raise
        return client.read(repo, file, commit, start, end)  # the signature has expired


def twice(ask: Callable[[], Asked]) -> Asked:
    """``ask()``, once more if the way to the hub failed."""
    try:
        return ask()
    except HubFailure as failure:
        if failure.problem.outcome in DECIDED | {"rate-limited", "redirect-loop", "proxy", "tls", "dns", "too-large"}:
            raise
        return ask()
