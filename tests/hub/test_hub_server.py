"""The loopback hub before the real client: what it serves, where it sends, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import HubServer, Repository, User

_CLIENT = """
import json, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.utils import HfHubHTTPError
try:
    print(json.dumps(eval(sys.argv[1])))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""

_FILES = {"config.json": b'{"model_type": "kokoro"}', "model.safetensors": b"w" * 100_000, "a/b.json": b"{}"}


def ask(hub: HubServer, home: Path, expression: str, token: str | None = None, **more: str) -> Any:
    """What ``expression`` gives in a process of its own whose client asks ``hub``."""
    environment = {**os.environ, **hub.environment(home, token), **more}
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, expression], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(page=2) as server:
        server.add(Repository.of("org/model", _FILES, tags=["mlx"]))
        server.users["hf_me"] = User("me")
        yield server


def test_the_client_lists_and_downloads_a_repository(hub: HubServer, tmp_path: Path) -> None:
    names = ask(hub, tmp_path, "[f.path for f in HfApi().list_repo_tree('org/model', recursive=True)]")
    assert names == ["a", "a/b.json", "config.json", "model.safetensors"]  # more than one page
    info = ask(
        hub, tmp_path, "[(s.rfilename, s.size) for s in HfApi().model_info('org/model', files_metadata=True).siblings]"
    )
    assert dict(info) == {name: len(data) for name, data in _FILES.items()}
    paths = ask(hub, tmp_path, "[p.lfs.size for p in HfApi().get_paths_info('org/model', ['model.safetensors'])]")
    assert paths == [100_000]

    snapshot = Path(ask(hub, tmp_path, "snapshot_download('org/model')", token="hf_me"))
    assert {str(f.relative_to(snapshot)): f.read_bytes() for f in snapshot.rglob("*") if f.is_file()} == _FILES
    assert snapshot.name == hub.repositories["org/model"].head
    assert [r.path.rsplit("/")[-1] for r in hub.requests_to("cdn")] == ["model.safetensors"]
    assert not list(hub.leaked_tokens())
    assert any("authorization" in r.headers for r in hub.requests_to("hub"))
    assert hub.sent >= 100_000


def test_access_is_told_as_the_hub_tells_it(hub: HubServer, tmp_path: Path) -> None:
    hub.add(Repository.of("org/gated", _FILES, gated="manual"))
    hub.add(Repository.of("org/private", _FILES, private=True))
    hub.users["hf_yes"] = User("yes", frozenset({"org/gated"}), frozenset({"org/private"}))
    get = "hf_hub_download({!r}, 'config.json')"
    for repository, token, expected in (
        ("org/absent", None, "RepositoryNotFoundError"),
        ("org/absent", "hf_me", "RepositoryNotFoundError"),
        ("org/private", "hf_me", "RepositoryNotFoundError"),
        ("org/gated", None, "GatedRepoError"),
        ("org/gated", "hf_me", "GatedRepoError"),
        ("org/model", "hf_wrong", "HfHubHTTPError"),
    ):
        assert ask(hub, tmp_path, get.format(repository), token)[0] == expected, (repository, token)
    assert ask(hub, tmp_path, "hf_hub_download('org/model', 'x.json')")[0] in (
        "RemoteEntryNotFoundError",
        "EntryNotFoundError",
    )
    assert ask(hub, tmp_path, "hf_hub_download('org/model', 'config.json', revision='x')")[0] == "RevisionNotFoundError"
    for repository in ("org/gated", "org/private"):
        assert str(ask(hub, tmp_path, get.format(repository), "hf_yes")).endswith("config.json")
    assert ask(hub, tmp_path, "HfApi().whoami()['name']", "hf_yes") == "yes"
    assert ask(hub, tmp_path, "[m.id for m in HfApi().list_models(search='mod')]") == ["org/model"]


_RANGE = """
import json, sys
from huggingface_hub.utils import get_session
try:
    answer = get_session().get(sys.argv[1], headers={"Range": "bytes=0-9"}, timeout=5)
    print(json.dumps([answer.status_code, len(answer.content)]))
except Exception as error:
    print(json.dumps(type(error).__name__))
"""


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({}, [206, 10]),
        ({"ignore_range": True}, [200, 100_000]),
        ({"status": 503}, [503, 0]),
        ({"reset_after": 3}, ("ReadError", "ConnectionError", "ChunkedEncodingError")),
        ({"cut_after": 3}, ("RemoteProtocolError", "ChunkedEncodingError")),
        ({"length_error": 5}, ("RemoteProtocolError", "ChunkedEncodingError")),
        ({"drop": True}, ("ReadError", "RemoteProtocolError", "ConnectionError")),
        ({"redirect": "self"}, ("TooManyRedirects",)),
    ],
)
def test_faults_reach_the_client(
    hub: HubServer, tmp_path: Path, fault: dict[str, Any], expected: list[int] | tuple[str, ...]
) -> None:
    hub.fault("*/model.safetensors", host="cdn", **fault)
    url = f"{hub.url}/org/model/resolve/main/model.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", _RANGE, url],
        env={**os.environ, **hub.environment(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    seen = json.loads(done.stdout)
    assert seen == expected if isinstance(expected, list) else seen in expected
