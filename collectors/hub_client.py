"""The real client of the hub, asked for what a diagnosis needs: a repository's files, small files, headers.

Everything goes through ``huggingface_hub``: its HfApi, its cache, its tokens, its sessions with
their proxies. Only ranges are read here, from a stream of its session: the client's own reader
of headers takes an answer whole, which is all of the weights where a server ignores ranges.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlx_diagnose.collectors import hub_meter, hub_proxy, multipart
from mlx_diagnose.collectors.hub_problems import HubFailure, Problem, of_answer, of_exception
from mlx_diagnose.collectors.target import cache_directory

#: Seconds that the hub may take to begin an answer, and to go on with one.
PATIENCE = 10.0
_CHUNK = 1 << 16
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class Piece:
    """The beginning or a later part of a file, as much as was asked for or the file has.

    ``url`` is where it came from in the end, ``size`` that of the whole file if it was told;
    ``whole`` says that the server ignored the range.
    """

    data: bytes
    url: str
    size: int | None
    whole: bool


class HubClient:
    """One user's view of one hub. Raises :class:`HubFailure` for what the hub does not give.

    ``deadline`` (of :func:`time.monotonic`) bounds everything that is asked. ``spare`` is a cache for
    what cannot be stored in the user's own.
    """

    def __init__(
        self, environ: Mapping[str, str] = os.environ, *, seconds: float = 60.0, spare: Path | None = None
    ) -> None:
        import huggingface_hub  # 175 ms: only for who asks the hub
        from huggingface_hub import constants, utils

        # Typed as anything: what is in them differs between its releases.
        self._hub: Any = huggingface_hub
        self._utils: Any = utils
        self.endpoint = (environ.get("HF_ENDPOINT") or "").rstrip("/") or str(constants.ENDPOINT)
        self.host = urlsplit(self.endpoint).netloc.rpartition("@")[2] or self.endpoint
        self.cache = cache_directory(environ)
        self._spare = spare
        self.deadline = time.monotonic() + seconds
        self.meter = hub_meter.Meter()
        self._api = huggingface_hub.HfApi(endpoint=self.endpoint, library_name="mlx-diagnose")

    @property
    def shown_endpoint(self) -> str:
        """Address of the hub without a password that it may hold."""
        scheme = urlsplit(self.endpoint).scheme
        return f"{scheme}://{self.host}" if scheme else self.host

    @property
    def is_default(self) -> bool:
        """Whether the hub is the one that the client asks unless told otherwise."""
        return self.endpoint == "https://huggingface.co"

    @property
    def authenticated(self) -> bool:
        """Whether the user has a token (its value is nowhere kept)."""
        return self._hub.get_token() is not None

    def extend(self, seconds: float) -> None:
        """Give further questions ``seconds`` from now."""
        self.deadline = time.monotonic() + seconds

    def info(self, repo: str, revision: str | None) -> Any:
        """A ``ModelInfo`` with the sizes of its files."""
        with self._asking():
            found = self._api.model_info(repo, revision=revision, files_metadata=True, timeout=self._patience())
            # It becomes the name of a folder.
            if not isinstance(found.sha, str) or not _COMMIT.fullmatch(found.sha):
                raise HubFailure(Problem("not-a-hub", None, "the answer names no commit", self.host))
            return found

    def search(self, words: str, author: str | None, limit: int) -> list[Any]:
        """Repositories whose name holds ``words``."""
        with self._asking():
            return list(self._api.list_models(search=words, author=author, limit=limit))

    def download(self, repo: str, file: str, revision: str) -> Path:
        """The file in the user's cache, fetched if it is not there."""
        try:
            return self._download(self.cache, repo, file, revision)
        except HubFailure as failure:
            if self._spare is None or failure.problem.outcome not in ("read-only", "no-space"):
                raise
            return self._download(self._spare, repo, file, revision)

    def _download(self, cache: Path, repo: str, file: str, revision: str) -> Path:
        with self._asking(file):
            found = self._hub.hf_hub_download(
                repo,
                file,
                revision=revision,
                endpoint=self.endpoint,
                cache_dir=cache,
                etag_timeout=self._patience(),
            )
        return Path(found)

    def read(self, repo: str, file: str, commit: str, start: int, end: int) -> Piece:
        """Bytes ``start`` to ``end`` (exclusive) of a file; redirects are followed, tokens stay."""
        url = self._hub.hf_hub_url(repo, file, revision=commit, endpoint=self.endpoint)
        return self.read_at(url, start, end, file)

    def read_at(self, url: str, start: int, end: int, file: str) -> Piece:
        """The same from an address. Never more than ``end`` bytes are read, whatever the server sends."""
        headers = self._headers(url, f"bytes={start}-{end - 1}")
        with self._asking(file), self._stream(url, headers) as response:
            if response.status_code >= 400:
                raise HubFailure(of_answer(response.status_code, response.headers, str(response.url)))
            whole = response.status_code != 206
            wanted, skipped = end - start, start if whole else 0
            data = self._take(response, skipped + wanted)[skipped:]
            size = _whole_size(response.headers, whole)
            there = wanted if size is None else min(end, size) - start
            if len(data) < there:
                raise HubFailure(
                    Problem(
                        "broken-off", None, f"{len(data)} of {there} bytes came", urlsplit(str(response.url)).netloc
                    )
                )
            return Piece(data, str(response.url), size, whole)

    def read_ranges(self, url: str, spans: Sequence[tuple[int, int]], file: str) -> list[tuple[int, bytes]] | None:
        """Several ranges with one request, as pieces with where they start; None from a server that gives one only."""
        asked = ", ".join(f"{start}-{end - 1}" for start, end in spans)
        most = sum(end - start + multipart.OVERHEAD for start, end in spans)
        with self._asking(file), self._stream(url, self._headers(url, f"bytes={asked}")) as response:
            if response.status_code >= 400 and response.status_code != 416:
                raise HubFailure(of_answer(response.status_code, response.headers, str(response.url)))
            told = {name.lower(): value for name, value in response.headers.items()}
            separator = multipart.boundary(told.get("content-type", ""))
            if response.status_code != 206 or separator is None:
                return None
            return multipart.parts(self._take(response, most), separator)

    def _headers(self, url: str, span: str) -> dict[str, str]:
        """Of a request for a part of a file: only the hub itself is told who asks."""
        headers = {"Range": span, "Accept-Encoding": "identity"}
        if _origin(url) == _origin(self.endpoint):
            headers = {**self._utils.build_hf_headers(library_name="mlx-diagnose"), **headers}
        return headers

    def _take(self, response: Any, length: int) -> bytes:
        data = bytearray()
        for chunk in _pieces(response, length):
            data += chunk
            if len(data) >= length:
                break
            if time.monotonic() > self.deadline:
                raise HubFailure(Problem("timed-out", None, "the answer came too slowly", self.host))
        return bytes(data[:length])

    @contextmanager
    def _stream(self, url: str, headers: dict[str, str]) -> Iterator[Any]:
        session = self._utils.get_session()
        if hasattr(session, "event_hooks"):
            with session.stream(
                "GET", url, headers=headers, timeout=self._patience(), follow_redirects=True
            ) as response:
                yield response
        else:
            with session.get(url, headers=headers, timeout=self._patience(), stream=True) as response:
                yield response

    def _patience(self) -> float:
        return max(min(PATIENCE, self.deadline - time.monotonic()), 0.1)

    @contextmanager
    def _asking(self, item: str | None = None) -> Iterator[None]:
        """Count what is asked, keep the client quiet, and turn what it raises into a :class:`HubFailure`."""
        if time.monotonic() > self.deadline:
            raise HubFailure(Problem("timed-out", None, "no time was left to ask", self.host, item))
        hub_meter.watch(self._utils.get_session())
        try:
            with self.meter.active():
                yield
        except Exception as error:
            problem = hub_proxy.told_of(of_exception(error), hub_proxy.on_the_way(self.endpoint))
            # Not chained: frames and requests of the client hold the token.
            raise HubFailure(replace(problem, item=problem.item or item, host=problem.host or self.host)) from None


def _pieces(response: Any, length: int) -> Iterator[bytes]:
    """The body as it arrives. What is more than ``length`` bytes is not waited for."""
    if hasattr(response, "iter_raw"):
        yield from response.iter_raw()
        return
    # requests: its own chunks are either waited for or the whole.
    read = getattr(response.raw, "read1", response.raw.read)
    while length > 0 and (chunk := read(min(length, _CHUNK))):
        length -= len(chunk)
        yield chunk


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _whole_size(headers: Mapping[str, str], whole: bool) -> int | None:
    told = {name.lower(): value for name, value in headers.items()}
    text = told.get("content-length", "") if whole else told.get("content-range", "").rpartition("/")[2]
    return int(text) if text.isdecimal() and len(text) < 19 else None
