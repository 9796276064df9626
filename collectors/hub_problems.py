"""What went wrong between us and the hub, told from an exception of its client or from an answer.

The clients of three generations (requests, httpx and its successor) raise exceptions of
different packages; their names and causes are the same, so names are what is looked at.
Statuses and headers of answers are those that ``huggingface_hub/utils/_http.py::hf_raise_for_status`` reads.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mlx_diagnose.collectors.text import clean

_DETAIL = 300
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*")

#: Answers that concern the repository, not the way to it: asking again gives the same.
DECIDED = frozenset(
    {"not-found", "revision-not-found", "entry-not-found", "gated", "unauthorized", "forbidden", "disabled"}
)

_TIMEOUTS = {
    "Timeout",
    "TimeoutException",
    "ConnectTimeout",
    "ReadTimeout",
    "WriteTimeout",
    "PoolTimeout",
    "TimeoutError",
}
_BROKEN_OFF = {"ChunkedEncodingError", "RemoteProtocolError", "IncompleteRead", "ReadError", "ProtocolError"}
_NOT_A_HUB = {"JSONDecodeError", "FileMetadataError", "DecodingError", "ContentDecodingError"}
_ADDRESSES = {"UnsupportedProtocol", "InvalidURL", "MissingSchema", "InvalidSchema", "LocationParseError"}
_CONNECTIONS = {"ConnectError", "ConnectionError", "NetworkError", "ConnectionRefusedError", "ConnectionResetError"}
_NAMES = re.compile(
    r"Name or service not known|Temporary failure in name resolution|nodename nor servname|getaddrinfo failed"
    r"|No address associated|Name does not resolve|NameResolutionError",
    re.IGNORECASE,
)
_TLS = re.compile(
    r"CERTIFICATE_VERIFY|SSL:|WRONG_VERSION_NUMBER|certificate verify failed|TLSV1|EOF occurred", re.IGNORECASE
)
#: What is wrong with a secure connection, by the words of OpenSSL and of Python's ``ssl``.
_TLS_FAULTS: Mapping[str, re.Pattern[str]] = {
    "expired": re.compile(r"certificate has expired", re.IGNORECASE),
    "not-yet-valid": re.compile(r"not yet valid", re.IGNORECASE),
    "other-host": re.compile(r"(Hostname|IP address) mismatch|doesn't match|not valid for '", re.IGNORECASE),
    "untrusted": re.compile(r"issuer certificate|self.signed certificate|unknown ca\b|UNKNOWN_CA", re.IGNORECASE),
    "no-tls": re.compile(r"WRONG_VERSION_NUMBER|UNKNOWN_PROTOCOL|HTTP_REQUEST|RECORD_LAYER_FAILURE"),
}
_SHORT = re.compile(
    r"Consistency check failed|peer closed connection|IncompleteRead|incomplete (message|chunked)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Problem:
    """An outcome as the ``hub_response`` fact names it, the status and host it came from, and words.

    ``item`` is the file that was asked for, ``retry_after`` the seconds that the hub asks to
    wait, ``tls`` what a secure connection failed of, ``proxy`` the one on the way. No text of it
    holds a query of an address: signatures of the content network are secrets.
    """

    outcome: str
    status: int | None = None
    detail: str | None = None
    host: str | None = None
    item: str | None = None
    retry_after: int | None = None
    tls: str | None = None
    proxy: str | None = None


class HubFailure(Exception):
    """The hub did not give what was asked for; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.outcome}: {problem.detail}")
        self.problem = problem


def of_answer(status: int, headers: Mapping[str, str], url: str = "") -> Problem:
    """What an answer with an error status means. ``headers`` are looked up without regard to case."""
    told = {name.lower(): value for name, value in headers.items()}
    code, message = told.get("x-error-code"), told.get("x-error-message", "")
    host = urlsplit(url).netloc.rpartition("@")[2] or None
    problem = Problem(_outcome(status, code, message, told), status, plain(message) or None, host)
    if problem.outcome == "rate-limited":
        return replace(problem, retry_after=_retry_after(told))
    return problem


def _outcome(status: int, code: str | None, message: str, told: Mapping[str, str]) -> str:
    coded = {
        "RepoNotFound": "not-found",
        "RevisionNotFound": "revision-not-found",
        "EntryNotFound": "entry-not-found",
        "GatedRepo": "gated",
    }.get(code or "")
    if message == "Access to this resource is disabled.":
        return "disabled"
    if message == "Invalid credentials in Authorization header":
        return "unauthorized"
    if coded is not None:
        return coded
    if status == 407:
        return "proxy"
    if status == 429:
        return "rate-limited"
    if status >= 500:
        return "server-error"
    if status == 401:
        # Without a code it is the hub's answer for what an anonymous user may not know of.
        return "not-found" if "x-request-id" in told or message else "unauthorized"
    return {403: "forbidden", 404: "not-a-hub", 408: "timed-out", 416: "bad-range"}.get(status, "failed")


def _retry_after(told: Mapping[str, str]) -> int | None:
    limit = re.search(r"\bt\s*=\s*(\d{1,9})", told.get("ratelimit", ""))
    if limit is not None:
        return int(limit[1])
    stated = told.get("retry-after", "").strip()
    return int(stated) if stated.isdecimal() and len(stated) < 10 else None


def of_exception(error: BaseException, host: str | None = None) -> Problem:
    """What an exception of the client, or of the system below it, means."""
    if isinstance(error, HubFailure):
        return error.problem
    links = list(_chain(error))
    for link in links:
        response = getattr(link, "response", None)
        status = getattr(response, "status_code", None)
        if isinstance(status, int) and status >= 400:
            return of_answer(status, getattr(response, "headers", {}), str(getattr(response, "url", "")))
    # urllib3 derives that a connection was refused from that it took too long.
    telling = [type(link) for link in links if type(link).__name__ != "NewConnectionError"]
    names = {base.__name__ for kind in telling for base in kind.__mro__}
    text = " ".join(str(link) for link in links)
    outcome = _kind(names, text, links)
    refused = re.search(r"\b([45]\d\d) [A-Z]", text) if outcome == "proxy" else None
    return Problem(
        outcome,
        int(refused[1]) if refused is not None else None,
        plain(_telling(links)) or None,
        host,
        tls=next((fault for fault, words in _TLS_FAULTS.items() if words.search(text)), None)
        if outcome == "tls"
        else None,
    )


def _kind(names: set[str], text: str, links: list[BaseException]) -> str:
    if "OfflineModeIsEnabled" in names:
        return "offline"
    if "HFValidationError" in names:
        return "invalid-id"
    if "ProxyError" in names or "SOCKSError" in names:
        return "proxy"
    if "gaierror" in names or _NAMES.search(text):
        return "dns"
    if names & {"SSLError", "SSLCertVerificationError", "CertificateError"} or _TLS.search(text):
        return "tls"
    if "TooManyRedirects" in names:
        return "redirect-loop"
    if names & _TIMEOUTS:
        return "timed-out"
    if names & _BROKEN_OFF or _SHORT.search(text):
        return "broken-off"
    if names & _ADDRESSES:
        return "bad-endpoint"
    if names & _CONNECTIONS:
        return "unreachable"
    if any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in links):
        return "no-space"
    if any(isinstance(link, OSError) and link.errno in (errno.EACCES, errno.EPERM, errno.EROFS) for link in links):
        return "read-only"
    return "not-a-hub" if names & _NOT_A_HUB else "failed"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        link = ahead.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        ahead += [link.__context__, link.__cause__]
        # urllib3 keeps the cause in a field or an argument.
        ahead += [item for item in (getattr(link, "reason", None), *link.args) if isinstance(item, BaseException)]


def _telling(links: list[BaseException]) -> str:
    """The innermost message: the outer ones say that something went wrong."""
    for link in reversed(links):
        if str(link).strip():
            return f"{type(link).__name__}: {link}"
    return type(links[0]).__name__


def plain(text: str) -> str:
    """``text`` on one line, not long, without queries of addresses."""
    return clean(" ".join(_QUERY.sub(r"\1", text).split()))[:_DETAIL]
