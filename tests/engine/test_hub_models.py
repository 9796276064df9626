"""Models that are only on the hub: diagnosed from headers alone, with the real client and the real loader."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlx_diagnose.collectors.target import locate
from mlx_diagnose.engine.fixing import write_fixes
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.remote import Remote
from mlx_diagnose.engine.report.json import to_json
from tests.hub import Content, HubServer, Repository, User
from tests.hub.archives import from_safetensors
from tests.hub.models import publish, use
from tests.specimens import make_specimen
from tests.specimens.mutants import mutate, quantised

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def home(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    use(hub, place, monkeypatch)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return place


def examine(model: str, **options: Any) -> Report:
    report = diagnose(Options(model=model, timeout=120, **options))
    to_json(report)
    return report


def roots(report: Report) -> list[tuple[str, str]]:
    return [(found.failure_class, found.rule) for found in report.findings if found.root]


def repository(home: Path, model: str) -> Path:
    return home / "hub" / ("models--" + model.replace("/", "--"))


def test_three_shards_load_from_their_headers(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, made = publish(hub, "soprano", tmp_path / "made", size="full", shards=3)
    report = examine(model)
    assert (report.verdict, report.findings) == ("loads", [])
    assert (report.target.source, report.target.revision) == ("hub", hub.repositories[model].head)

    assert report.network == {"requests": len(hub.requests), "bytes": hub.sent}
    assert report.network["requests"] <= 20
    headers = 0
    for file in made.path.glob("*.safetensors"):
        with file.open("rb") as stream:
            headers += 8 + int.from_bytes(stream.read(8), "little")
    small = sum(file.stat().st_size for file in made.path.iterdir() if file.suffix != ".safetensors")
    answers = sum(request.sent for request in hub.requests if "/api/models" in request.path)
    assert hub.sent - answers <= 1.1 * (headers + small)
    for file in made.path.glob("*.safetensors"):
        ranges = [r for r in hub.requests_to("cdn") if r.path.endswith(file.name)]
        assert 1 <= len(ranges) <= 2
        assert all(request.status == 206 for request in ranges)

    # The cache is as the client leaves it, and nothing of ours is in it or left behind.
    cached = repository(home, model)
    assert (cached / "refs" / "main").read_text() == hub.repositories[model].head
    names = {file.name for file in (cached / "snapshots" / hub.repositories[model].head).iterdir()}
    assert "config.json" in names
    assert not [name for name in names if name.endswith(".safetensors")]
    assert all(link.resolve().parent == (cached / "blobs").resolve() for link in cached.glob("snapshots/*/*"))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_archive_of_arrays_loads_from_their_headers(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, made = publish(hub, "soprano", tmp_path / "made")
    archive = from_safetensors(made.path)
    hub.add(Repository.from_directory(model, made.path))
    report = examine(model)
    assert (report.verdict, report.findings) == ("loads", [])
    assert report.network == {"requests": len(hub.requests), "bytes": hub.sent}
    asked = hub.requests_to("cdn")
    assert {request.status for request in asked} == {206}
    assert len(asked) <= 3
    assert sum(request.sent for request in asked) < archive.stat().st_size / 4


def test_a_fault_of_the_config_is_found_and_its_fix_verified_without_a_weight(
    hub: HubServer, home: Path, tmp_path: Path
) -> None:
    model, made = publish(hub, "soprano", tmp_path / "made")
    config = json.loads((made.path / "config.json").read_text())
    config["n_layers"] = config.pop("num_hidden_layers")
    (made.path / "config.json").write_text(json.dumps(config))
    hub.add(Repository.from_directory(model, made.path))
    report = examine(model)
    assert report.verdict == "fails"
    assert roots(report)[0][0] == "config/renamed-key"
    assert report.findings[0].fixes[0].applicability == "verified"
    assert report.network["bytes"] < 100_000

    # A copy without weights is no model: an adapter is written, and the config to publish; still without a weight.
    bytes_before = hub.sent
    asked = Options(model=model, timeout=120)
    written = write_fixes(report, asked, tmp_path / "mended")[0].written
    assert written is not None and written.loads and "headers" in str(written.reason)
    assert hub.sent - bytes_before < 100_000
    names = {file.name for file in (tmp_path / "mended").iterdir()}
    assert names == {"adapter_soprano_80m_bf16.py", "adapter_soprano_80m_bf16.yaml", "config.json"}
    config["num_hidden_layers"] = config.pop("n_layers")
    assert json.loads((tmp_path / "mended" / "config.json").read_text()) == config

    # Used, it downloads the model by the hub's own client, and loads what the whole model holds.
    found = []
    for ending in ("py", "yaml"):
        (adapter,) = (tmp_path / "mended").glob(f"adapter_*.{ending}")
        words = [sys.executable, str(ROOT / "tests" / "loaded_parameters.py"), "--adapter", str(adapter), model]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        outcome = json.loads(done.stdout)
        assert outcome["error"] is None
        found.append(outcome["parameters"])
    assert found[0] == found[1] and len(found[0]) >= 40


def test_an_adapter_that_cannot_be_proven_is_not_written(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, made = publish(hub, "soprano", tmp_path / "made")
    config = json.loads((made.path / "config.json").read_text())
    config["n_layers"] = config.pop("num_hidden_layers")
    (made.path / "config.json").write_text(json.dumps(config))
    hub.add(Repository.from_directory(model, made.path))
    report = examine(model)
    asked = Options(model=model, timeout=120, offline=True)
    written, error = write_fixes(report, asked, tmp_path / "mended")
    assert written.written is not None and not written.written.loads
    assert error is not None and f"hf download {model}" in error.next_step
    assert not (tmp_path / "mended").exists()


def test_what_the_load_asks_for_is_fetched_on_the_way(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "llama", tmp_path / "made")
    hub.users["hf_theirs123"] = User("me")
    report = examine(model)
    assert report.verdict == "loads"
    companions = {
        fact["repo"] for fact in report.facts if fact.kind == "hub_repository" and fact["role"] == "companion"
    }
    assert "mlx-community/snac_24khz" in companions
    # Nothing of a companion but its header either.
    assert not [r for r in hub.requests_to("cdn") if r.status == 200 and r.path.endswith(".safetensors")]


def test_a_companion_that_is_not_there_is_told(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "llama", tmp_path / "made")
    del hub.repositories["mlx-community/snac_24khz"]
    report = examine(model)
    assert ("component/missing", "component-repository-gone") in roots(report)
    assert report.verdict == "fails"


def test_companions_are_looked_at_though_the_load_does_not_come_so_far(
    hub: HubServer, home: Path, tmp_path: Path
) -> None:
    model, _ = publish(hub, "llama", tmp_path / "made")
    report = examine(model, only_static=True)
    known = {fact["repo"] for fact in report.facts if fact.kind == "hub_repository" and fact["role"] == "companion"}
    assert "mlx-community/snac_24khz" in known
    assert not [found for found in report.findings if found.severity == "error"]
    del hub.repositories["mlx-community/snac_24khz"]
    report = examine(model, only_static=True)
    assert ("component/missing", "component-repository-gone-ahead") in roots(report)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("there", None),
        ("gated", ("hub/companion-unavailable", "hub-companion-gated-ahead")),
        ("gone", ("component/missing", "component-repository-gone-ahead")),
    ],
)
def test_companions_of_a_local_directory_are_asked_for_when_told_to(
    hub: HubServer, home: Path, tmp_path: Path, state: str, expected: tuple[str, str] | None
) -> None:
    _, made = publish(hub, "llama", tmp_path / "made")
    codec = "mlx-community/snac_24khz"
    if state == "gone":
        del hub.repositories[codec]
    elif state == "gated":
        hub.repositories[codec].gated = "manual"
    assert examine(str(made.path), only_static=True).network == {"requests": 0, "bytes": 0}
    assert hub.requests == []
    report = examine(str(made.path), only_static=True, offline=False)
    assert [root for root in roots(report) if codec in json.dumps(to_json(report))] == ([expected] if expected else [])
    assert report.network["requests"] == len(hub.requests) > 0
    assert not [r for r in hub.requests_to("cdn") if r.status == 200 and r.path.endswith(".safetensors")]
    answers = {fact["repo"]: fact["outcome"] for fact in report.facts if fact.kind == "hub_response"}
    assert answers[codec] in {"there": {"found"}, "gated": {"found", "gated"}, "gone": {"not-found"}}[state]


def test_an_older_snapshot_that_is_whole_stays_the_one_of_its_branch(
    hub: HubServer, home: Path, tmp_path: Path
) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    reference = repository(home, model) / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text("1" * 40)
    assert examine(model, only_static=True).network["requests"] > 0
    assert reference.read_text() == "1" * 40


def test_a_revision_is_looked_at_and_loaded(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    files = {**hub.repositories[model].files, "config.json": Content(b'{"model_type": "soprano"}')}
    commit = hub.repositories[model].commit(files, branch="short")
    report = examine(model, revision="short")
    assert report.verdict == "fails"
    assert [fact["commit"] for fact in report.facts if fact.kind == "hub_repository"] == [commit]
    assert roots(examine(model, revision="absent", only_static=True)) == [("hub/not-found", "hub-answer-no-revision")]


ANSWERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "gated": ({"status": 401, "headers": {"X-Error-Code": "GatedRepo"}}, "hub/gated", "hub-answer-gated"),
    "limited": (
        {"status": 429, "headers": {"RateLimit": '"api";r=0;t=55'}},
        "hub/rate-limited",
        "hub-answer-rate-limited",
    ),
    "down": ({"status": 503}, "hub/unavailable", "hub-answer-server-error"),
    "circle": ({"redirect": "self"}, "hub/unavailable", "hub-answer-redirects-in-circle"),
    "dropped": ({"drop": True}, "hub/unavailable", "hub-answer-broken-off"),
    "page": ({"status": 200, "body": b"<html>log in</html>"}, "hub/unavailable", "hub-answer-no-hub"),
    "disabled": (
        {"status": 403, "headers": {"X-Error-Message": "Access to this resource is disabled."}},
        "hub/unavailable",
        "hub-answer-disabled",
    ),
}


@pytest.mark.parametrize(("fault", "failure_class", "rule"), ANSWERS.values(), ids=ANSWERS)
def test_a_failure_of_the_hub_is_told_and_says_nothing_of_the_model(
    hub: HubServer, home: Path, fault: dict[str, Any], failure_class: str, rule: str
) -> None:
    hub.add(Repository.of("org/model", {"config.json": b"{}"}))
    hub.fault("/api/models/org/model", **fault)
    report = examine("org/model", only_static=True)
    assert roots(report) == [(failure_class, rule)]
    assert all(found.fixes for found in report.findings)


def test_who_asks_decides_what_is_wrong(hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(Repository.of("org/gated", {"config.json": b"{}", "model.safetensors": b"x"}, gated="manual"))
    hub.add(Repository.of("org/voice-82M", {"config.json": b"{}"}))
    hub.users["hf_stranger12"] = User("stranger")
    secret = "hf_revoked12345"
    for token, model, expected in (
        (None, "org/gated", "hub-answer-gated"),
        ("hf_stranger12", "org/gated", "hub-answer-gated-not-accepted"),
        (secret, "org/gated", "hub-answer-token-refused"),
        (None, "org/absent", "hub-answer-not-found"),
        (None, "org/voice-82", "hub-answer-not-found-alike"),
    ):
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN", raising=False)
        report = examine(model, only_static=True)
        assert [rule for _, rule in roots(report)] == [expected]
        assert secret not in json.dumps(to_json(report))
    assert report.findings[0].fixes[0].command == "diagnose org/voice-82M"
    assert not list(hub.leaked_tokens())


def test_nobody_is_asked_where_that_is_forbidden_or_needless(
    hub: HubServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, made = publish(hub, "soprano", tmp_path / "made")
    assert examine(model, only_static=True, offline=True).network == {"requests": 0, "bytes": 0}
    snapshot = repository(home, model) / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for file in made.path.iterdir():
        (snapshot / file.name).symlink_to(file)
    assert examine(model, only_static=True).network == {"requests": 0, "bytes": 0}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    examine("org/other", only_static=True)
    assert hub.requests == []


def test_a_hub_that_is_not_there(hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        report = examine("org/model", only_static=True)
    assert roots(report) == [("hub/unavailable", "hub-answer-unreachable")]
    assert report.verdict == "inconclusive"
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    assert roots(examine("org/model", only_static=True)) == [("hub/unavailable", "hub-answer-no-such-host")]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"reset_after": 100}, "broken-off"),
        pytest.param({"cut_after": 100}, "broken-off", marks=pytest.mark.long),
        pytest.param({"status": 500}, "server-error", marks=pytest.mark.long),
    ],
)
def test_weights_that_do_not_come_leave_the_rest_examined(
    hub: HubServer, home: Path, tmp_path: Path, fault: dict[str, Any], outcome: str
) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    hub.fault("*.safetensors", host="cdn", **fault)
    report = examine(model)
    assert [found.failure_class for found in report.findings if found.root] == ["hub/unavailable"]
    stages = {stage.name: stage.status for stage in report.stages}
    assert (stages["construct"], stages["weights"], report.verdict) == ("passed", "blocked", "inconclusive")
    assert {fact["outcome"] for fact in report.facts if fact.kind == "hub_response" and fact["item"]} == {outcome}


def test_one_lost_connection_is_made_again(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    hub.fault("*.safetensors", host="cdn", reset_after=100, times=1)
    report = examine(model, only_static=True)
    assert not report.findings


def test_a_server_that_ignores_ranges_sends_no_more_than_is_read(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made", size="full")
    hub.ranges = False
    report = examine(model, only_static=True)
    assert not report.findings
    assert report.network["bytes"] < 400_000
    assert hub.sent < 30_000_000  # what lay in buffers when the connection was closed


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own on which nothing is left."""
    place = tmp_path / "full"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("only a superuser makes a full disk")
    try:
        (place / "filling").write_bytes(bytes(64 << 10))
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs a disk of its own")
def test_a_full_disk_is_told_and_keeps_nothing_from_being_examined(
    hub: HubServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: Path
) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    monkeypatch.setenv("HF_HUB_CACHE", str(full / "hub"))
    report = examine(model, only_static=True)
    assert roots(report) == [("hub/incomplete-cache", "hub-download-does-not-fit")]
    states = {fact["file"]: fact["state"] for fact in report.facts if fact.kind == "hub_file"}
    assert (states["config.json"], states["model.safetensors"]) == ("fetched", "header")


def test_names_from_the_network_become_no_paths_outside(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    evil = [
        "../../evil.json",
        "/tmp/evil.json",
        "a/../../evil.safetensors",
        "NUL.safetensors",
        "c:\\evil.json",
        "x\0y.json",
        "..\\evil.json",
        "sub/AUX.json",
        f"{'evil' * 1000}.json",
    ]
    files = {**hub.repositories[model].files, **{name: Content(b"{}") for name in evil}}
    index = {"weight_map": {"a": "../../../evil.safetensors", "b": "/etc/passwd", "c": "CON", "d": "e" * 5000}}
    files["model.safetensors.index.json"] = Content(json.dumps(index).encode())
    hub.repositories[model].commit(files)
    report = examine(model, only_static=True)
    unsafe = {fact["file"] for fact in report.facts if fact.kind == "hub_file" and fact["state"] == "unsafe-name"}
    assert len(unsafe) == len(evil)
    assert not [request for request in hub.requests if "evil" in request.path or "passwd" in request.path]
    assert not list(tmp_path.rglob("evil*"))


def test_what_the_card_says_is_known(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, made = publish(hub, "soprano", tmp_path / "made")
    (made.path / "README.md").write_text("Converted to MLX from x using mlx-audio version **0.2.5**.")
    tags = ["mlx", "license:apache-2.0", "base_model:them/voice", "base_model:quantized:them/voice"]
    hub.add(Repository.from_directory(model, made.path, tags=tags, library_name="mlx-audio"))
    hub.add(Repository.of("org/Soprano-80M-4bit", {}))
    hub.add(Repository.of("org/Soprano-1B-4bit", {}))
    report = examine(model, only_static=True)
    (told,) = [fact for fact in report.facts if fact.kind == "hub_repository"]
    assert (told["licence"], told["base_model"], told["base_relation"]) == ("apache-2.0", "them/voice", "quantized")
    assert (told["library"], told["converted_with"], told["weights"]) == ("mlx-audio", "0.2.5", 1)
    assert told["weights_bytes"] == sum(file.stat().st_size for file in made.path.glob("*.safetensors"))
    variants = [(fact["variant"], fact["bits"], fact["smaller"]) for fact in report.facts if fact.kind == "hub_variant"]
    assert variants == [("org/Soprano-80M-4bit", 4.0, True)]


def test_the_same_model_in_other_numbers_is_offered_where_its_quantisation_fails(
    hub: HubServer, home: Path, tmp_path: Path
) -> None:
    whole = make_specimen("llama", tmp_path / "made")
    broken = mutate(quantised(whole, tmp_path / "packed"), "quantization-undeclared", tmp_path / "broken").specimen
    hub.add(Repository.from_directory("org/Voice-4bit", broken.path))
    hub.add(Repository.of("org/Voice-bf16", {}))
    hub.add(Repository.of("org/Other-bf16", {}))
    report = examine("org/Voice-4bit", only_static=True)
    (told,) = [found for found in report.findings if found.rule == "quantization-other-variant"]
    assert [(fix.kind, fix.command) for fix in told.fixes] == [("model-choice", "diagnose org/Voice-bf16")]


def test_two_at_once_do_not_disturb_each_other(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made")
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda: reports.append(examine(model, only_static=True))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(report.findings) for report in reports] == [0, 0]
    assert sum(report.network["requests"] for report in reports) == len(hub.requests)
    assert not list((home / "hub").rglob("*.incomplete"))


@pytest.mark.long
def test_two_loads_at_once_do_not_disturb_each_other(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "llama", tmp_path / "made")
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda: reports.append(examine(model))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.verdict for report in reports] == ["loads", "loads"]
    assert sum(report.network["requests"] for report in reports) == len(hub.requests)
    assert not list((home / "hub").rglob("*.incomplete"))
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.long
def test_two_hundred_in_a_row_leave_nothing_behind(hub: HubServer, home: Path, tmp_path: Path) -> None:
    model, _ = publish(hub, "soprano", tmp_path / "made", shards=3)
    options, process = Options(model=model), psutil.Process()

    def once() -> None:
        with ExitStack() as stack:
            remote = Remote(options, locate(model), stack, lambda _: None)
            assert remote.look(sys.executable).cache is not None
            remote.assert_facts(WorkingMemory())
        hub.requests.clear()

    def left() -> tuple[int, int, int]:
        gc.collect()
        return process.num_fds(), threading.active_count(), len(list((tmp_path / "scratch").iterdir()))

    once()
    before = left()
    for _ in range(200):
        once()
    after = left()
    # Connections that the client keeps, and their other ends, which are in this process too.
    assert after[0] <= before[0] + 20
    assert after[1] <= before[1] + 20
    assert after[2] == 0
    assert not list((home / "hub").rglob("*.incomplete"))
