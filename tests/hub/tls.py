"""Hosts of a hub that speak TLS with good and with bad certificates, and proxies that do not let anybody through."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trustme

CERTIFICATES = ("good", "expired", "not-yet-valid", "other-host")


class Authority:
    """Issues certificates that only who has ``file`` accepts."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def context(self, kind: str) -> ssl.SSLContext:
        """For a server with a certificate of one of :data:`CERTIFICATES`."""
        now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
        times: dict[str, Any] = {
            "expired": {"not_before": now - 9 * day, "not_after": now - 2 * day},
            "not-yet-valid": {"not_before": now + 2 * day, "not_after": now + 9 * day},
        }.get(kind, {})
        name = "hub.example" if kind == "other-host" else "127.0.0.1"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name, **times).configure_cert(context)
        return context


@contextmanager
def tunnel(target: tuple[str, int], context: ssl.SSLContext) -> Iterator[str]:
    """The address of a host that speaks TLS and passes what it is told on to ``target``, in plain."""

    def answer(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure, socket.create_connection(target) as plain:
            _pass_on(secure, plain)

    with _listening(answer) as port:
        yield f"https://127.0.0.1:{port}"


@contextmanager
def proxy(answer: bytes | None, target: tuple[str, int] | None = None) -> Iterator[str]:
    """The address of a proxy that says ``answer`` to everything, nothing at all (None), or leads to ``target``."""

    def serve(client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := client.recv(4096)):
                    return
                head += data
            if answer is not None:
                client.sendall(answer)
            if target is not None:
                with socket.create_connection(target) as other:
                    _pass_on(client, other)

    with _listening(serve) as port:
        yield f"http://me:secretword@127.0.0.1:{port}"


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Until one of them ends."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(other, one), daemon=True)
    back.start()
    copy(one, other)
    back.join(5)


@contextmanager
def _listening(serve: Any) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(32)

        def quietly(client: socket.socket) -> None:
            with suppress(OSError):
                serve(client)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=quietly, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
