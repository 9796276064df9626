"""No connection to the hub: certificates and proxies, each told apart with a fix of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import to_json
from tests.hub import HubServer, Repository
from tests.hub.models import use
from tests.hub.tls import Authority, proxy, tunnel

REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
LOGIN = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        use(server, tmp_path / "home", monkeypatch)
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        server.add(Repository.of("org/model", {"config.json": b'{"model_type": "kokoro"}'}))
        yield server


@pytest.fixture(autouse=True)
def sessions() -> Iterator[None]:
    """The client takes certificates and proxies when it makes its session."""
    from huggingface_hub import utils

    close: Any = getattr(utils, "close_session", None) or getattr(utils, "reset_sessions")  # noqa: B009 - by release
    close()
    yield
    close()


def address(hub: HubServer) -> tuple[str, int]:
    parts = urlsplit(hub.url)
    return str(parts.hostname), int(parts.port or 0)


def trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the fix says: one variable for clients on httpx, one for those on requests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))


def examine() -> Report:
    report = diagnose(Options(model="org/model", only_static=True))
    assert "secretword" not in json.dumps(to_json(report))
    return report


def roots(report: Report) -> list[tuple[str, str]]:
    return [(found.failure_class, found.rule) for found in report.findings if found.root]


def response(report: Report) -> Any:
    return next(fact for fact in report.facts if fact.kind == "hub_response")


@pytest.mark.parametrize(
    ("certificate", "trusted", "rule", "fault"),
    [
        ("good", False, "hub-answer-certificate-untrusted", "untrusted"),
        ("expired", True, "hub-answer-certificate-expired", "expired"),
        ("not-yet-valid", True, "hub-answer-certificate-expired", "not-yet-valid"),
        ("other-host", True, "hub-answer-certificate-other-host", "other-host"),
    ],
)
def test_a_certificate_that_is_not_accepted(
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    certificate: str,
    trusted: bool,
    rule: str,
    fault: str,
) -> None:
    authority = Authority(tmp_path)
    if trusted:
        trust(authority, monkeypatch)
    with tunnel(address(hub), authority.context(certificate)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        report = examine()
    assert roots(report) == [("hub/unavailable", rule)]
    assert response(report)["tls"] == fault
    assert report.verdict == "inconclusive"
    assert hub.requests == []


def test_what_the_fix_says_makes_the_certificate_known(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trust(authority, monkeypatch)
    with tunnel(address(hub), authority.context("good")) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        report = examine()
    assert response(report)["outcome"] == "found"


def test_a_host_that_speaks_no_tls(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http:", "https:"))
    report = examine()
    assert roots(report) == [("hub/unavailable", "hub-answer-no-tls")]
    assert f"export HF_ENDPOINT={hub.url}" in [fix.command for fix in report.findings[0].fixes]


def test_an_endpoint_that_is_no_address(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")
    report = examine()
    assert roots(report) == [("hub/unavailable", "hub-answer-endpoint-malformed")]
    assert report.findings[0].fixes[0].command == "export HF_ENDPOINT=https://hub.example"


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize(
    ("answer", "rule", "status"),
    [(LOGIN, "hub-answer-proxy-login", 407), (REFUSED, None, 403), (None, "hub-answer-proxy", None)],
)
def test_a_proxy_that_lets_nobody_through(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, rule: str | None, status: int, scheme: str
) -> None:
    with proxy(answer) as through:
        _proxied(monkeypatch, through, f"{scheme}://hub.example")
        report = examine()
    # Without a tunnel an answer of the proxy cannot be told from one of the hub: it is one who forbids.
    expected = rule or ("hub-answer-proxy" if scheme == "https" else "hub-answer-forbidden")
    assert [found for _, found in roots(report)] == [expected]
    assert (response(report)["status"], report.verdict == "inconclusive") == (
        status,
        rule is not None or scheme == "https",
    )


def test_a_proxy_that_is_down(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    _proxied(monkeypatch, "http://me:secretword@127.0.0.1:9", "https://hub.example")
    report = examine()
    assert roots(report) == [("hub/unavailable", "hub-answer-proxy")]
    assert "127.0.0.1:9" in report.findings[0].cause


def test_a_proxy_that_looks_into_the_connection_is_told_by_its_certificate(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnel(address(hub), Authority(tmp_path).context("good")) as url:
        inside = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))
        with proxy(CONNECTED, inside) as through:
            _proxied(monkeypatch, through, "https://127.0.0.3")
            report = examine()
    assert roots(report) == [("hub/unavailable", "hub-answer-certificate-untrusted")]
    assert response(report)["proxy"] == urlsplit(through).netloc.rpartition("@")[2]


def _proxied(monkeypatch: pytest.MonkeyPatch, through: str, endpoint: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, through)
        monkeypatch.setenv(name.lower(), through)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
