"""A look at a repository through the real client: what is asked, what comes, what is told of a failure.

Holds for every release of the client that is supported, whatever it is built on.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlx_diagnose.collectors import hub as collector
from mlx_diagnose.collectors.hub import RemoteModel
from mlx_diagnose.collectors.hub_client import HubClient
from mlx_diagnose.collectors.hub_problems import HubFailure
from mlx_diagnose.collectors.hub_quiet import quiet
from mlx_diagnose.collectors.hub_scratch import ScratchCache
from mlx_diagnose.engine.specimen import Tensor, write_safetensors
from tests.hub import HubServer, Repository, User
from tests.hub.models import use

SHARDS = 3
TENSORS: dict[str, Tensor] = {
    f"layers.{layer}.{part}.weight": ("BF16", (4096, 4096)) for layer in range(90) for part in "qkvo"
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def home(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use(hub, tmp_path / "home", monkeypatch)
    return tmp_path / "home"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Three shards of some four gigabytes each, of which a header takes disk."""
    directory = tmp_path / "large"
    directory.mkdir()
    weight_map = {}
    for number in range(SHARDS):
        part = {name: tensor for at, (name, tensor) in enumerate(TENSORS.items()) if at % SHARDS == number}
        file = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        write_safetensors(directory / file, part, metadata={"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (directory / "config.json").write_text('{"model_type": "llama"}')
    return directory


def look(tmp_path: Path, repo: str = "org/model", **properties: Any) -> tuple[RemoteModel, HubClient]:
    root = tmp_path / f"scratch-{time.monotonic_ns()}"
    root.mkdir()
    client = HubClient(seconds=properties.pop("seconds", 30.0))
    return collector.examine(
        client, repo, properties.pop("revision", None), ScratchCache(root, client.cache), **properties
    ), client


def header(file: Path) -> bytes:
    with file.open("rb") as stream:
        first = stream.read(8)
        return first + stream.read(int.from_bytes(first, "little"))


@pytest.mark.parametrize("resolve_cache", [True, False])
def test_headers_come_whole_in_few_requests_and_no_weight(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path, resolve_cache: bool
) -> None:
    hub.resolve_cache = resolve_cache
    hub.add(Repository.from_directory("org/model", checkpoint))
    model, client = look(tmp_path)
    assert (model.problem, model.gaps) == (None, {})
    files = sorted(checkpoint.glob("*.safetensors"))
    assert [model.headers[file.name].data for file in files] == [header(file) for file in files]
    assert [model.headers[file.name].size for file in files] == [file.stat().st_size for file in files]
    assert model.scratch is not None
    for file in files:
        ghost = model.scratch.directory / file.name
        assert ghost.stat().st_size == file.stat().st_size
        assert ghost.stat().st_blocks * 512 < 2 * len(header(file)) + 8192

    assert client.meter.requests == len(hub.requests) <= 20
    assert client.meter.bytes == hub.sent
    # The index tells how long a header is: it comes with the first request, and hardly more than it.
    asked = hub.requests_to("cdn")
    assert len(asked) == SHARDS
    assert sum(request.sent for request in asked) <= 1.1 * sum(len(header(file)) for file in files)


def test_of_a_repository_in_xet_nothing_goes_through_xet(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path
) -> None:
    """The hub redirects to its bridge, which knows ranges like the content network before; other hosts stay unasked."""
    (checkpoint / "tokenizer.model").write_bytes(b"t" * 50_000)
    hub.add(Repository.from_directory("org/model", checkpoint, xet=True))
    model, client = look(tmp_path)
    assert model.gaps == {}
    files = sorted(checkpoint.glob("*.safetensors"))
    assert [model.headers[file.name].data for file in files] == [header(file) for file in files]
    assert model.fetched["tokenizer.model"].read_bytes() == b"t" * 50_000
    assert not [request for request in hub.requests if "xet" in request.path or "reconstructions" in request.path]
    assert (client.meter.requests, client.meter.bytes) == (len(hub.requests), hub.sent)
    assert not list(home.rglob("xet"))


def test_the_client_is_afterwards_as_it_was_before() -> None:
    from huggingface_hub import constants

    logger, settings = logging.getLogger("huggingface_hub"), vars(constants)
    before = (logger.level, settings["HF_HUB_DISABLE_XET"])
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert settings["HF_HUB_DISABLE_XET"] is True
    second.__exit__(None, None, None)
    assert (logger.level, settings["HF_HUB_DISABLE_XET"]) == before


def test_a_longer_header_than_expected_takes_a_second_request(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path
) -> None:
    (checkpoint / "model.safetensors.index.json").unlink()
    hub.add(Repository.from_directory("org/model", checkpoint))
    model, _ = look(tmp_path)
    files = sorted(checkpoint.glob("*.safetensors"))
    assert [model.headers[file.name].data for file in files] == [header(file) for file in files]
    asked = hub.requests_to("cdn")
    assert len(asked) == 2 * SHARDS
    assert sum(request.sent for request in asked) == sum(len(header(file)) for file in files)


def test_the_token_stays_with_the_hub(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "model.safetensors.index.json").unlink()
    hub.add(Repository.from_directory("org/model", checkpoint, gated="manual"))
    hub.users["hf_mine12345"] = User("me", accepted=frozenset({"org/model"}))
    monkeypatch.setenv("HF_TOKEN", "hf_mine12345")
    model, client = look(tmp_path)
    assert client.authenticated
    assert len(model.headers) == SHARDS
    assert all("authorization" in request.headers for request in hub.requests_to("hub"))
    assert hub.requests_to("cdn")
    assert not list(hub.leaked_tokens())


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "refused": ({"status": 401, "headers": {"X-Error-Code": "RepoNotFound"}}, "not-found"),
    "gated": ({"status": 403, "headers": {"X-Error-Code": "GatedRepo"}}, "gated"),
    "token": (
        {"status": 401, "headers": {"X-Error-Message": "Invalid credentials in Authorization header"}},
        "unauthorized",
    ),
    "forbidden": ({"status": 403}, "forbidden"),
    "limited": ({"status": 429}, "rate-limited"),
    "broken": ({"status": 500}, "server-error"),
    "overloaded": ({"status": 504}, "server-error"),
    "elsewhere": ({"status": 404}, "not-a-hub"),
    "page": ({"status": 200, "body": b"<html>"}, "not-a-hub"),
    "circle": ({"redirect": "self"}, "redirect-loop"),
    "dropped": ({"drop": True}, "broken-off"),
    "reset": ({"reset_after": 40}, "broken-off"),
    "cut": ({"cut_after": 40}, "broken-off"),
    "longer": ({"length_error": 9}, "broken-off"),
}


@pytest.mark.parametrize(("fault", "outcome"), FAULTS.values(), ids=FAULTS)
def test_failures_of_the_repository_are_told_apart(
    hub: HubServer, home: Path, tmp_path: Path, fault: dict[str, Any], outcome: str
) -> None:
    hub.add(Repository.of("org/model", {"config.json": b"{}"}))
    hub.fault("/api/models/org/model", **fault)
    model, _ = look(tmp_path)
    assert model.problem is not None
    assert (model.problem.outcome, model.scratch) == (outcome, None)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"status": 403}, "forbidden"),
        ({"status": 503}, "server-error"),
        ({"reset_after": 40}, "broken-off"),
        ({"cut_after": 40}, "broken-off"),
        ({"length_error": 9}, None),
        ({"corrupt": True}, None),
        ({"ignore_range": True}, None),
        ({"redirect": "self"}, "redirect-loop"),
    ],
)
def test_failures_of_a_file_leave_the_others(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path, fault: dict[str, Any], outcome: str | None
) -> None:
    hub.add(Repository.from_directory("org/model", checkpoint))
    hub.fault("*-00002-*.safetensors", host="cdn", **fault)
    model, _ = look(tmp_path)
    assert {file: problem.outcome for file, problem in model.gaps.items()} == (
        {f"model-00002-of-{SHARDS:05}.safetensors": outcome} if outcome else {}
    )
    assert len(model.headers) == SHARDS - (outcome is not None)
    assert model.scratch is not None
    assert "Signature" not in str(model.gaps)


def test_whoever_does_not_answer_is_not_waited_for(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path
) -> None:
    hub.add(Repository.from_directory("org/model", checkpoint))
    hub.fault("/api/models/org/model", delay=3.0)
    started = time.monotonic()
    model, _ = look(tmp_path, seconds=0.5)
    assert model.problem is not None
    assert model.problem.outcome == "timed-out"
    hub.faults.clear()
    hub.fault("/api/models/org/model", drip=0.5)  # no read of it takes long
    model, _ = look(tmp_path, seconds=1.5)
    assert model.problem is not None
    assert model.problem.outcome == "timed-out"
    hub.faults.clear()
    hub.fault("*.safetensors", host="cdn", drip=0.05)
    hub.fault("*/config.json", method="GET", drip=0.5)
    model, _ = look(tmp_path, seconds=3.0)
    assert {problem.outcome for problem in model.gaps.values()} == {"timed-out"}
    assert time.monotonic() - started < 30


def test_an_unknown_size_of_a_header_is_not_believed(hub: HubServer, home: Path, tmp_path: Path) -> None:
    huge = (60_000_000).to_bytes(8, "little") + b"{" + b" " * 1000
    place = tmp_path / "lying.safetensors"
    with place.open("wb") as file:
        file.write(huge)
        file.truncate(1 << 30)
    repository = Repository.of("org/model", {"config.json": b"{}"})
    from tests.hub import Content

    repository.commit({**repository.files, "model.safetensors": Content(place), "short.safetensors": Content(b"12")})
    hub.add(repository)
    model, client = look(tmp_path)
    assert model.gaps["model.safetensors"].outcome == "too-large"
    assert model.headers["short.safetensors"].data == b"12"
    assert client.meter.bytes < 10_000


def test_no_message_holds_a_token(hub: HubServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hf_secret0123456789"
    monkeypatch.setenv("HF_TOKEN", secret)
    hub.add(Repository.of("org/model", {"config.json": b"{}"}))
    client = HubClient()
    with pytest.raises(HubFailure) as failure:
        client.info("org/model", None)
    link: BaseException | None = failure.value
    while link is not None:
        assert secret not in repr(link) + str(link.args)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    assert secret not in repr(vars(client))


def test_nothing_is_left_behind_by_many_looks(hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors.index.json").unlink()
    hub.add(Repository.from_directory("org/model", checkpoint))
    hub.fault("*-00003-*.safetensors", host="cdn", cut_after=30)
    process = psutil.Process()

    def open_things() -> tuple[int, int]:
        gc.collect()
        sockets = {c.laddr for c in process.net_connections() if c.status == "CLOSE_WAIT"}
        return len(os.listdir(f"/proc/{process.pid}/fd")) if os.path.isdir("/proc") else process.num_fds(), len(sockets)

    def once() -> None:
        look(tmp_path)
        hub.requests.clear()

    for _ in range(5):
        once()
    before, threads = open_things(), threading.active_count()
    for _ in range(40):
        once()
    after = open_things()
    # The server's side of kept connections is in this process too.
    assert after[0] <= before[0] + 12
    assert threading.active_count() <= threads + 12
    assert not list((home / "hub").rglob("*.incomplete"))


def test_a_commit_from_the_network_becomes_no_path(hub: HubServer, home: Path, tmp_path: Path) -> None:
    hub.add(Repository.of("org/model", {"config.json": b"{}"}))
    told = {"id": "org/model", "sha": "../../../evil", "siblings": [{"rfilename": "config.json"}]}
    hub.fault("/api/models/org/model", status=200, body=json.dumps(told).encode())
    model, _ = look(tmp_path)
    assert model.problem is not None
    assert model.problem.outcome == "not-a-hub"
    hub.faults.clear()
    model, _ = look(tmp_path, revision="../../../evil")
    assert model.problem is not None
    assert not list(tmp_path.rglob("evil*"))


def test_a_proxy_that_is_not_there_is_told_as_such(
    hub: HubServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    from huggingface_hub import utils

    # The client takes its proxies when it makes its session.
    close: Any = getattr(utils, "close_session", None) or utils.reset_sessions
    close()
    model, _ = look(tmp_path)
    close()
    assert model.problem is not None
    assert model.problem.outcome == "proxy"
    assert model.problem.proxy == "127.0.0.1:9"
    assert "secret" not in str(model.problem)


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs a folder in which nobody may write")
def test_a_cache_that_may_not_be_written_does_not_stop_the_look(
    hub: HubServer, home: Path, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(Repository.from_directory("org/model", checkpoint))
    monkeypatch.setenv("HF_HUB_CACHE", "/sys/kernel/hub")
    root = tmp_path / "root"
    root.mkdir()
    client = HubClient(spare=root / "spare")
    model = collector.examine(client, "org/model", None, ScratchCache(root, client.cache))
    assert (model.gaps, len(model.headers)) == ({}, SHARDS)
    assert model.fetched["config.json"].is_relative_to(root)
