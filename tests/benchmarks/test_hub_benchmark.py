"""Headers of a large checkpoint by range: at most twice the time of the bare client reading the same ranges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import hub_headers, hub_jobs
from mlx_diagnose.collectors.hub_client import HubClient
from mlx_diagnose.engine.specimen import Tensor, write_safetensors
from tests.hub import HubServer, Repository
from tests.hub.models import use

LIMIT = 2.0
SHARDS = 3
#: Three shards of 10 GB: 300 matrices of 32 MiB each.
TENSORS: dict[str, Tensor] = {
    f"layers.{layer}.{part}.weight": ("BF16", (4096, 4096)) for layer in range(100) for part in "qkv"
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    directory = tmp_path / "model"
    directory.mkdir()
    for number in range(SHARDS):
        write_safetensors(directory / f"{number}.safetensors", TENSORS, metadata={"format": "mlx"})
    with HubServer() as server:
        use(server, tmp_path / "home", monkeypatch)
        server.add(Repository.from_directory("org/model", directory))
        yield server


def ours(hub: HubServer) -> Callable[[], object]:
    client, model = HubClient(seconds=600), hub.repositories["org/model"]
    jobs = [
        partial(
            hub_headers.fetch,
            client,
            model.id,
            model.head,
            file,
            content.size,
            hub_headers.estimate(TENSORS, content.size),
        )
        for file, content in model.files.items()
    ]

    def fetch() -> None:
        assert all(isinstance(found, hub_headers.Header) for found in hub_jobs.run_all(jobs, client.deadline))

    return fetch


def bare(hub: HubServer) -> Callable[[], object]:
    from huggingface_hub import hf_hub_url, utils

    session: Any = getattr(utils, "get_session")()  # noqa: B009 - typed differently by release
    ranges = []
    for file, content in hub.repositories["org/model"].files.items():
        end = 8 + int.from_bytes(content.read(0, 8), "little")
        ranges.append((hf_hub_url("org/model", file, endpoint=hub.url), end))

    def read() -> None:
        for url, end in ranges:
            answer = session.get(url, headers={"Range": f"bytes=0-{end - 1}"})
            assert len(answer.content) == end

    return read


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.mark.long
def test_headers_take_at_most_twice_the_bare_reads(hub: HubServer) -> None:
    fetch, read = ours(hub), bare(hub)
    # By turns, and the quietest of each: a busy machine slows both.
    pairs = [(seconds(fetch), seconds(read)) for _ in range(40)]
    ratio = min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)
    assert ratio <= LIMIT, f"{ratio:.2f} times the bare reads"


def test_headers_of_three_shards(benchmark: Any, hub: HubServer) -> None:
    benchmark(ours(hub))


def test_bare_reads_of_three_shards(benchmark: Any, hub: HubServer) -> None:
    benchmark(bare(hub))
