"""Answers of the loopback hub to one request: routes, redirects, ranges, and faults on the way."""

from __future__ import annotations

import json
import socket
import struct
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub import api
from tests.hub.faults import Fault
from tests.hub.repositories import Content, Repository, is_lfs, xet_hash
from tests.hub.server import HubServer, Request, User, _Server

_CHUNK = 1 << 16


class _Answered(Exception):
    """The answer is out."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *values: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    # What a request is

    @property
    def hub(self) -> HubServer:
        return self.server.hub

    def _handle(self) -> None:
        address = urlsplit(self.path)
        self.asked = Request(
            self.server.host,
            self.command,
            unquote(address.path),
            parse_qs(address.query, keep_blank_values=True),
            {name.lower(): value for name, value in self.headers.items()},
        )
        length = int(self.headers.get("Content-Length") or 0)
        self.form = self.rfile.read(length) if length else b""
        with self.hub.lock:
            self.hub.requests.append(self.asked)
        self.fault = self.hub.take_fault(self.server.host, self.command, self.asked.path) or Fault("")
        with suppress(_Answered, ConnectionError, BrokenPipeError):
            self._spoil()
            if self.server.host == "cdn":
                self._content_network()
            else:
                self._route(address.path.strip("/").split("/"))
            self._error((404, None, "Sorry, we can't find the page you are looking for."))

    def _spoil(self) -> None:
        """The faults that replace the whole answer."""
        if self.fault.delay:
            time.sleep(self.fault.delay)
        if self.fault.drop:
            self._reset()
        if self.fault.redirect is not None:
            to = self.path if self.fault.redirect == "self" else self.fault.redirect
            self._send(302, {"Location": to, **self.fault.headers}, b"")
        if self.fault.status is not None:
            self._send(self.fault.status, dict(self.fault.headers), self.fault.body or b"")

    # Routes of the hub

    def _route(self, parts: list[str]) -> None:
        self.user = self._authenticate()
        decoded = [unquote(part) for part in parts]
        match decoded:
            case ["api", "whoami-v2"]:
                self._whoami()
            case ["api", "models"]:
                self._list()
            case ["api", "resolve-cache", "models", org, name, commit, *path]:
                self._resolve(self._repository(f"{org}/{name}"), commit, "/".join(path), cached=True)
            case ["api", "models", org, name, *rest]:
                self._model(self._repository(f"{org}/{name}"), rest)
            case [org, name, ("resolve" | "raw") as how, revision, *path]:
                self._resolve(self._repository(f"{org}/{name}"), revision, "/".join(path), raw=how == "raw")

    def _model(self, repository: Repository, rest: list[str]) -> None:
        match rest:
            case []:
                self._info(repository, "main")
            case ["revision", revision]:
                self._info(repository, revision)
            case ["refs"]:
                self._json(api.refs(repository))
            case ["tree", revision, *folder]:
                self._tree(repository, revision, "/".join(folder))
            case ["paths-info", revision]:
                self._paths_info(repository, revision)
            case ["xet-read-token", _]:
                headers = {
                    "X-Xet-Cas-Url": self.hub.cdn_url,
                    "X-Xet-Access-Token": "xet-access",
                    "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
                }
                self._json({"casUrl": self.hub.cdn_url, "accessToken": "xet-access"}, headers)

    def _authenticate(self) -> User | None:
        """The user whose token was sent; None without a token."""
        header = self.asked.headers.get("authorization")
        if header is None:
            return None
        user = self.hub.users.get(header.removeprefix("Bearer ").strip())
        if user is None:
            self._error(api.INVALID_TOKEN)
        return user

    def _repository(self, id: str) -> Repository:
        """A repository that the user may know of."""
        repository = self.hub.repositories.get(id)
        if repository is None or (repository.private and (self.user is None or id not in self.user.reads)):
            self._error(api.NOT_FOUND_ANONYMOUS if self.user is None else api.NOT_FOUND)
        assert repository is not None
        if repository.disabled:
            self._error(api.DISABLED)
        return repository

    def _commit(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(revision)
        if commit is None:
            status, code, message = api.REVISION_NOT_FOUND
            self._error((status, code, message.format(revision=revision)))
        assert commit is not None
        return commit

    def _whoami(self) -> None:
        if self.user is None:
            self._error((401, None, "Invalid username or password."))
        assert self.user is not None
        self._json({"type": "user", "name": self.user.name, "orgs": [], "auth": {"type": "access_token"}})

    def _list(self) -> None:
        search = self.asked.query.get("search", [""])[0].lower()
        author = self.asked.query.get("author", [None])[0]
        limit = int(self.asked.query.get("limit", ["1000"])[0])
        found = [
            api.listed(repository)
            for id, repository in sorted(self.hub.repositories.items())
            if search in id.lower() and author in (None, id.split("/")[0]) and not repository.private
        ]
        self._json(found[:limit])

    def _info(self, repository: Repository, revision: str) -> None:
        commit = self._commit(repository, revision)
        blobs = self.asked.query.get("blobs", [""])[0].lower() in ("true", "1")
        self._json(api.info(repository, commit, blobs))

    def _tree(self, repository: Repository, revision: str, folder: str) -> None:
        commit = self._commit(repository, revision)
        recursive = self.asked.query.get("recursive", [""])[0].lower() in ("true", "1")
        entries = api.tree(repository, commit, folder, recursive)
        if folder and not entries:
            self._error(api.ENTRY_NOT_FOUND)
        start = int(self.asked.query.get("cursor", ["0"])[0])
        end = start + self.hub.page
        headers = {}
        if end < len(entries):
            address = f"{self.hub.url}{quote(self.asked.path)}?recursive={recursive}&cursor={end}"
            headers["Link"] = f'<{address}>; rel="next"'
        self._json(entries[start:end], headers)

    def _paths_info(self, repository: Repository, revision: str) -> None:
        commit = self._commit(repository, revision)
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(self.form)["paths"]
        else:
            paths = parse_qs(self.form.decode())["paths"]
        everything = {entry["path"]: entry for entry in api.tree(repository, commit, "", recursive=True)}
        self._json([everything[path] for path in paths if path in everything])

    def _resolve(
        self, repository: Repository, revision: str, path: str, *, cached: bool = False, raw: bool = False
    ) -> None:
        commit = self._commit(repository, revision)
        if repository.gated and (self.user is None or repository.id not in self.user.accepted):
            status, code, message = api.GATED_ANONYMOUS if self.user is None else api.GATED_NOT_ACCEPTED
            self._error((status, code, message.format(id=repository.id)))
        content = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if content is None:
            self._error(api.ENTRY_NOT_FOUND, {"X-Repo-Commit": commit})
        assert content is not None
        lfs = is_lfs(path, content)
        if raw and lfs:
            content, lfs = Content(content.pointer()), False
        headers["ETag"] = f'"{content.sha256 if lfs else content.blob_id(lfs)}"'
        if lfs:
            self._redirect_to_content(repository, path, content, commit, headers)
        if self.hub.resolve_cache and not cached and not raw and content.size and not repository.gated:
            location = f"/api/resolve-cache/models/{repository.id}/{commit}/{quote(path)}?etag={quote(headers['ETag'])}"
            self._send(307, {**headers, "Location": location}, b"Temporary Redirect. Redirecting to " + path.encode())
        self._body(content, headers, ranges=True)

    def _redirect_to_content(
        self, repository: Repository, path: str, content: Content, commit: str, headers: dict[str, str]
    ) -> None:
        self.hub.blobs[content.sha256] = content
        headers |= {"X-Linked-Size": str(content.size), "X-Linked-Etag": headers["ETag"]}
        if repository.xet:
            route = f"{self.hub.url}/api/models/{repository.id}/xet-read-token/{commit}"
            rebuilt = f"{self.hub.cdn_url}/v1/reconstructions/{xet_hash(content)}"
            links = f'<{route}>; rel="xet-auth", <{rebuilt}>; rel="xet-reconstruction-info"'
            headers |= {"X-Xet-Hash": xet_hash(content), "Link": links}
        # Named by the path as well, so that a fault can concern one file.
        location = f"{self.hub.cdn_url}/{content.sha256}/{quote(path)}?Expires=1&Policy=p&Signature=s"
        self._send(302, {**headers, "Location": location}, b"Found. Redirecting")

    # The content network

    def _content_network(self) -> None:
        name = self.asked.path.strip("/").split("/")[0]
        content = self.hub.blobs.get(name)
        if content is None or "Signature" not in self.asked.query:
            self._send(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        assert content is not None
        self._body(content, {"ETag": f'"{name[::-1]}"', "Accept-Ranges": "bytes"}, ranges=self.hub.ranges)

    # Sending

    def _json(self, told: object, headers: dict[str, str] | None = None) -> None:
        self._send(
            200, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, json.dumps(told).encode()
        )

    def _error(self, error: tuple[int, str | None, str], headers: dict[str, str] | None = None) -> None:
        status, code, message = error
        told = {"X-Error-Message": message, "Content-Type": "application/json", **(headers or {})}
        if code:
            told["X-Error-Code"] = code
        self._send(status, told, json.dumps({"error": message}).encode())

    def _body(self, content: Content, headers: dict[str, str], *, ranges: bool) -> None:
        """All of ``content``, or the one range that was asked for."""
        span = self.asked.headers.get("range") if ranges and not self.fault.ignore_range else None
        start, end, status = 0, content.size, 200
        if span is not None and "," in span:
            if self.hub.several_ranges:
                self._parts(content, headers, span.removeprefix("bytes="))
            span = None
        if span is not None and span.startswith("bytes="):
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(content.size - int(last), 0)
            end = min(int(last) + 1, content.size) if first and last else content.size
            if start >= content.size:
                self._send(416, {**headers, "Content-Range": f"bytes */{content.size}"}, b"")
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
            status = 206
        self._send(status, {"Content-Type": "binary/octet-stream", **headers}, content, start, end)

    def _parts(self, content: Content, headers: dict[str, str], spans: str) -> None:
        """Several ranges in one answer."""
        body = b""
        for span in spans.split(","):
            first, _, last = span.strip().partition("-")
            data = content.read(int(first), int(last) + 1 - int(first))
            told = f"bytes {first}-{int(first) + len(data) - 1}/{content.size}"
            body += f"--parts\r\nContent-Type: binary/octet-stream\r\nContent-Range: {told}\r\n\r\n".encode()
            body += data + b"\r\n"
        self._send(206, {**headers, "Content-Type": "multipart/byteranges; boundary=parts"}, body + b"--parts--\r\n")

    def _send(
        self, status: int, headers: dict[str, str], body: bytes | Content, start: int = 0, end: int | None = None
    ) -> None:
        content = Content(body) if isinstance(body, bytes) else body
        end = content.size if end is None else end
        self.asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(max(end - start + self.fault.length_error, 0)))
        self.send_header("X-Request-Id", "Root=1-loopback")
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(content, start, end)
        if self.fault.length_error:
            self.close_connection = True
        raise _Answered

    def _send_body(self, content: Content, start: int, end: int) -> None:
        fault = self.fault
        stops = [limit for limit in (fault.reset_after, fault.cut_after) if limit is not None]
        stop = min([end, *(start + limit for limit in stops)])
        step = 1 if fault.drip is not None else _CHUNK
        at = start
        while at < stop:
            data = content.read(at, min(step, stop - at))
            if not data:
                break
            at += len(data)
            self.asked.sent += len(data)  # before it is out: who has the last byte may look at once
            self.wfile.write(bytes(byte ^ 0xFF for byte in data) if fault.corrupt else data)
            if fault.drip is not None:
                self.wfile.flush()
                time.sleep(fault.drip)
        if stop < end or fault.reset_after is not None:
            self.wfile.flush()
            self._reset() if fault.reset_after is not None else self._close()

    def _close(self) -> None:
        self.close_connection = True
        raise _Answered

    def _reset(self) -> None:
        """End the connection with a reset rather than in order."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        raise _Answered
