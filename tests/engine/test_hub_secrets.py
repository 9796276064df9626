"""A token is nowhere: in no format, no saved run, no bundle, not on standard error with the client's debugging on."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import HubServer, Repository, User
from tests.hub.tls import proxy

TOKEN = "hf_sEcReTtOkEn0123456789AbCdEf"
#: The bundle's command saves a run as well.
_SCRIPT = """
from mlx_diagnose.engine import runs
from mlx_diagnose.engine.cli import main
from mlx_diagnose.engine.report import formats
from mlx_diagnose.engine.report.view import View

main(["bundle", "save", "org/model", "--only-static", "-o", "bundle.zip"])
report = runs.load("last")
for name in formats.available():
    print(formats.render(name, report, View(verbose=True)))
main(["why", "last", "f1"])
"""

#: By name: what goes wrong on the way, and the user whom the hub takes the token for.
FAULTS: dict[str, dict[str, Any] | None] = {
    "nothing": None,
    "revoked": {
        "path": "*",
        "status": 401,
        "headers": {"X-Error-Message": "Invalid credentials in Authorization header"},
    },
    "gated": {"path": "*", "status": 403, "headers": {"X-Error-Code": "GatedRepo"}},
    "told": {"path": "/api/*", "status": 403, "headers": {"X-Error-Message": f"Your token {TOKEN} is not allowed"}},
    "echo": {"path": "/api/*", "status": 500, "body": f"Authorization: Bearer {TOKEN}".encode()},
    "page": {"path": "/api/*", "status": 200, "body": f"<p>Bearer {TOKEN}</p>".encode()},
    "address": {"path": "/api/*", "redirect": f"/nowhere?token={TOKEN}"},
    "loop": {"path": "/api/*", "redirect": "self"},
    "dropped": {"path": "/api/*", "drop": True},
    "weights": {"path": "*.safetensors", "host": "cdn", "cut_after": 3},
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        files = {"config.json": b'{"model_type": "kokoro"}', "model.safetensors": b"\x08" + bytes(7) + b"{}      "}
        server.add(Repository.of("org/model", files, gated="manual"))
        server.users[TOKEN] = User("me", accepted=frozenset({"org/model"}))
        yield server


def everything_said(hub: HubServer, tmp_path: Path, **variables: str) -> bytes:
    """Of one diagnosis in every format, with the client's debugging on, its saved runs and a bundle."""
    environment = {
        **os.environ,
        **hub.environment(tmp_path / "home", TOKEN),
        "HF_DEBUG": "1",
        "MLX_DIAGNOSE_HOME": str(tmp_path / "ours"),
        "TMPDIR": str(tmp_path),
        **variables,
    }
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=environment,
        capture_output=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.stdout.count(b"org/model") > 8, done.stderr.decode()
    kept = [file.read_bytes() for file in (tmp_path / "ours").rglob("*") if file.is_file()]
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        kept += [bundle.read(name) for name in bundle.namelist()]
    assert len(kept) > 2
    return b"\n".join([done.stdout, done.stderr, *kept])


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=() if fault == "echo" else pytest.mark.long) for fault in FAULTS]
)
def test_the_token_is_nowhere(hub: HubServer, tmp_path: Path, fault: str) -> None:
    properties = FAULTS[fault]
    if properties is not None:
        hub.fault(**properties)
    said = everything_said(hub, tmp_path)
    assert TOKEN.encode() not in said
    assert any("authorization" in request.headers for request in hub.requests_to("hub"))
    assert not list(hub.leaked_tokens())


@pytest.mark.long
def test_the_token_does_not_go_where_the_hub_redirects_to(hub: HubServer, tmp_path: Path) -> None:
    for path in ("/api/models/org/model", "*/config.json"):
        hub.faults.clear()
        hub.fault(path, host="hub", redirect=f"{hub.cdn_url}/elsewhere")
        assert TOKEN.encode() not in everything_said(hub, tmp_path)
    assert [request for request in hub.requests_to("cdn") if request.path == "/elsewhere"]
    assert not list(hub.leaked_tokens())


@pytest.mark.long
def test_the_password_of_a_proxy_is_nowhere(hub: HubServer, tmp_path: Path) -> None:
    with proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as through:
        names = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), through)
        said = everything_said(hub, tmp_path, **names, NO_PROXY="", no_proxy="")
    assert b"secretword" not in said
    assert TOKEN.encode() not in said
