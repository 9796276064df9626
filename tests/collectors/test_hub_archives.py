"""Archives of arrays on the hub: their directory and headers by range, and never a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import hub as collector
from mlx_diagnose.collectors import multipart, npz_header
from mlx_diagnose.collectors.hub import RemoteModel
from mlx_diagnose.collectors.hub_client import HubClient
from mlx_diagnose.collectors.hub_scratch import ScratchCache
from tests.hub import Content, HubServer, Repository
from tests.hub.archives import npy_header, write_npz
from tests.hub.models import use

#: 16 MB.
ARRAYS: dict[str, tuple[str, Sequence[int]]] = {
    **{f"blocks.{number}.weight": ("F32", (256, 256)) for number in range(60)},
    **{f"blocks.{number}.bias": ("BF16", (7,)) for number in range(60)},
    "scale": ("F16", ()),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        use(server, tmp_path / "home", monkeypatch)
        yield server


def look(hub: HubServer, file: Path, root: Path) -> tuple[RemoteModel, HubClient]:
    repository = Repository.of("org/model", {"config.json": b"{}"})
    repository.commit({**repository.files, "weights.npz": Content(file)})
    hub.add(repository)
    root.mkdir()
    client = HubClient(seconds=30)
    return collector.examine(client, "org/model", None, ScratchCache(root, client.cache)), client


def tables(model: RemoteModel, file: Path) -> tuple[Any, Any]:
    """What the laid out archive and the true one say of themselves."""
    assert model.scratch is not None
    ghost, real = npz_header.read(model.scratch.directory / "weights.npz"), npz_header.read(file)
    return (ghost.state, ghost.detail, dict(ghost.tensors)), (real.state, real.detail, dict(real.tensors))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("comment", [b"", b"made by hand " * 40])
def test_names_types_and_shapes_come_in_few_requests(
    hub: HubServer, tmp_path: Path, compressed: bool, comment: bytes
) -> None:
    write_npz(tmp_path / "weights.npz", ARRAYS, compressed=compressed, comment=comment)
    model, client = look(hub, tmp_path / "weights.npz", tmp_path / "root")
    assert model.gaps == {}
    ghost, real = tables(model, tmp_path / "weights.npz")
    assert ghost == real
    assert len(real[2]) == len(ARRAYS)
    asked = hub.requests_to("cdn")
    assert len(asked) <= 3
    assert {request.status for request in asked} == {206}
    assert client.meter.bytes == hub.sent < 120_000
    assert client.meter.requests == len(hub.requests)
    assert model.scratch is not None
    assert (model.scratch.directory / "weights.npz").stat().st_blocks * 512 < 2_000_000


def test_a_server_that_gives_one_range_a_request_is_asked_one_by_one(hub: HubServer, tmp_path: Path) -> None:
    hub.several_ranges = False
    arrays = {f"blocks.{number}.weight": ("F32", (256, 256)) for number in range(40)}
    write_npz(tmp_path / "weights.npz", arrays)
    model, client = look(hub, tmp_path / "weights.npz", tmp_path / "root")
    ghost, real = tables(model, tmp_path / "weights.npz")
    assert (ghost, model.gaps) == (real, {})
    assert client.meter.bytes < 300_000  # what came of the one answer that held all


def test_where_that_would_be_too_many_requests_it_is_told(hub: HubServer, tmp_path: Path) -> None:
    hub.several_ranges = False
    write_npz(tmp_path / "weights.npz", {f"b.{number}": ("F32", (64, 64)) for number in range(200)})
    model, client = look(hub, tmp_path / "weights.npz", tmp_path / "root")
    assert model.gaps["weights.npz"].outcome == "too-large"
    assert client.meter.requests <= 20
    assert client.meter.bytes < 400_000


@pytest.mark.parametrize("damage", ["cut", "objects", "text", "empty", "short"])
def test_what_is_wrong_with_an_archive_is_told_as_of_the_file_itself(
    hub: HubServer, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "weights.npz"
    arrays = dict(ARRAYS)
    if damage == "objects":
        arrays["voices"] = ("O", (3,))
    write_npz(file, arrays)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:9_000_000])
    elif damage == "text":
        file.write_bytes(b"<html>" * 1000)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "short":  # an array whose header claims more than the archive has of it
        import zipfile

        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.npy", npy_header("F32", (1000, 1000)) + bytes(500_000))
    model, client = look(hub, file, tmp_path / "root")
    ghost, real = tables(model, file)
    assert ghost == real
    assert real[0] != "ok"
    assert client.meter.bytes < 120_000


@pytest.mark.parametrize("fault", [{"status": 503}, {"cut_after": 50}, {"reset_after": 50}, {"status": 403}])
def test_a_failure_of_the_way_is_no_fault_of_the_file(hub: HubServer, tmp_path: Path, fault: dict[str, Any]) -> None:
    write_npz(tmp_path / "weights.npz", ARRAYS)
    hub.fault("*/weights.npz", host="cdn", **fault)
    model, _ = look(hub, tmp_path / "weights.npz", tmp_path / "root")
    assert set(model.gaps) == {"weights.npz"}
    assert model.gaps["weights.npz"].outcome in ("server-error", "broken-off", "forbidden")


def test_parts_of_an_answer() -> None:
    separator = multipart.boundary('multipart/byteranges; boundary="ab"')
    assert separator == b"ab"
    assert multipart.boundary("text/html") is None
    body = (
        b"--ab\r\nContent-Range: bytes 5-7/10\r\n\r\n\r\n-\r\n--ab\r\nContent-Range: bytes 0-1/10\r\n\r\nxy\r\n--ab--"
    )
    assert multipart.parts(body, separator) == [(5, b"\r\n-"), (0, b"xy")]
    assert multipart.parts(body[:-11], separator) == [(5, b"\r\n-")]
    assert multipart.parts(b"--ab\r\nContent-Range: bytes 9-1/10\r\n\r\n", separator) == []
