"""The two HTTP hosts of the loopback hub, what they were asked, and how they are started and stopped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.hub.faults import Fault, Host
from tests.hub.repositories import Content, Repository


@dataclass(frozen=True)
class User:
    """The owner of a token: what they may see."""

    name: str
    #: Gated repositories whose terms they accepted.
    accepted: frozenset[str] = frozenset()
    #: Private repositories that they may read.
    reads: frozenset[str] = frozenset()


@dataclass
class Request:
    """One request as it came in, and what was sent for it. Names of headers are in lower case."""

    host: Host
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int = 0
    #: Bytes of the body that were sent.
    sent: int = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 128

    def __init__(self, address: str, hub: HubServer, host: Host) -> None:
        from tests.hub.handler import Handler

        self.hub = hub
        self.host: Host = host
        self.connections: set[socket.socket] = set()
        super().__init__((address, 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is ordinary here."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    @property
    def url(self) -> str:
        address, port = self.server_address[:2]
        return f"http://{address!s}:{port}"


@dataclass
class HubServer:
    """A hub at ``url`` and its content network at ``cdn_url``, between ``with`` and its end.

    ``resolve_cache``: small files are redirected to an address of their commit, as
    huggingface.co does; False serves them at once, as hubs of other makers do.
    ``page``: entries of a tree page. ``ranges``: whether the content network knows ranges;
    ``several_ranges``: more than one a request (object stores then send all of a file).
    """

    resolve_cache: bool = True
    page: int = 1000
    ranges: bool = True
    several_ranges: bool = True
    repositories: dict[str, Repository] = field(default_factory=dict)
    #: Tokens that the hub knows. Any other token is refused with 401.
    users: dict[str, User] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> HubServer:
        self.lock = threading.Lock()
        self.blobs: dict[str, Content] = {}
        self._hub = _Server("127.0.0.1", self, "hub")
        try:
            self._cdn = _Server("127.0.0.2", self, "cdn")
        except OSError:  # macOS has one loopback address; another port is another host too
            self._cdn = _Server("127.0.0.1", self, "cdn")
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            for server in (self._hub, self._cdn)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End both hosts: from then on connections are refused."""
        for server in (self._hub, self._cdn):
            server.shutdown()
            for connection in list(server.connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            server.server_close()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return self._hub.url

    @property
    def cdn_url(self) -> str:
        """Address of the second host."""
        return self._cdn.url

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """Variables under which a client asks this hub and keeps its cache in ``home``."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1,127.0.0.2",
            **({"HF_TOKEN": token} if token else {}),
        }

    def add(self, repository: Repository) -> Repository:
        """Publish ``repository``."""
        self.repositories[repository.id] = repository
        return repository

    def fault(self, path: str, **properties: Any) -> Fault:
        """Let requests to ``path`` (a glob) go wrong; see :class:`Fault`. The newest match counts."""
        fault = Fault(path, **properties)
        self.faults.insert(0, fault)
        return fault

    def take_fault(self, host: Host, method: str, path: str) -> Fault | None:
        """The fault of a request, counted as used."""
        with self.lock:
            for fault in self.faults:
                if fault.matches(host, method, path):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def requests_to(self, host: Host) -> list[Request]:
        """The requests that one of the hosts saw."""
        return [request for request in self.requests if request.host == host]

    @property
    def sent(self) -> int:
        """Bytes of all bodies that were sent."""
        return sum(request.sent for request in self.requests)

    def leaked_tokens(self) -> Iterator[Request]:
        """Requests to the second host that carried an Authorization header."""
        return (request for request in self.requests_to("cdn") if "authorization" in request.headers)
