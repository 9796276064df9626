"""Whole diagnoses of models in the hub cache, as the real client wrote it and with one thing broken; its fix, run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlx_diagnose.engine.fixing import write_fixes
from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import to_json
from tests.hub import HubServer, Repository
from tests.specimens import make_specimen

ROOT = Path(__file__).parents[2]
REPO = "org/Soprano-80M-bf16"
_HF = "import sys; from huggingface_hub.cli.hf import main; sys.argv[0] = 'hf'; main()"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    specimen = make_specimen("soprano", tmp_path)
    with HubServer() as server:
        server.add(Repository.from_directory(REPO, specimen.path))
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in server.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def snapshot(hub: HubServer, tmp_path: Path) -> Path:
    hf("download", REPO)
    return tmp_path / "home" / "hub" / "models--org--Soprano-80M-bf16" / "snapshots" / hub.repositories[REPO].head


def hf(*words: str) -> None:
    subprocess.run([sys.executable, "-c", _HF, *words], check=True, capture_output=True, timeout=60)


def examine(**options: object) -> Report:
    report = diagnose(Options(model=REPO, timeout=120, offline=True, **options))  # type: ignore[arg-type]
    to_json(report)
    return report


def test_a_cached_model_is_diagnosed_without_a_single_request(hub: HubServer, snapshot: Path) -> None:
    asked = len(hub.requests)
    report = examine()
    assert (report.verdict, report.findings) == ("loads", [])
    assert report.target.path == str(snapshot)
    assert len(hub.requests) == asked


def gone(snapshot: Path) -> None:
    (snapshot / "tokenizer.json").unlink()


def cut_off(snapshot: Path) -> None:
    os.truncate((snapshot / "model.safetensors").resolve(), 3000)


def cut_off_and_no_list(snapshot: Path) -> None:
    cut_off(snapshot)
    shutil.rmtree(snapshot.parents[1] / "trees")


def no_blob(snapshot: Path) -> None:
    (snapshot / "config.json").resolve().unlink()


def no_snapshot(snapshot: Path) -> None:
    shutil.rmtree(snapshot)


def no_ref(snapshot: Path) -> None:
    (snapshot.parents[1] / "refs" / "main").write_text("")


@pytest.mark.parametrize(
    ("damage", "failure_class", "subject"),
    [
        pytest.param(gone, "hub/incomplete-cache", "tokenizer.json", marks=pytest.mark.long),
        pytest.param(cut_off, "hub/corrupt-cache", "model.safetensors", marks=pytest.mark.long),
        pytest.param(cut_off_and_no_list, "hub/corrupt-cache", "model.safetensors", marks=pytest.mark.long),
        (no_blob, "hub/corrupt-cache", "config.json"),
        (no_snapshot, "hub/incomplete-cache", REPO),
        (no_ref, "hub/corrupt-cache", REPO),
    ],
)
def test_what_is_broken_is_the_one_root_and_its_command_mends_it(
    snapshot: Path, damage: Callable[[Path], None], failure_class: str, subject: str
) -> None:
    damage(snapshot)
    report = examine()
    (root,) = [finding for finding in report.findings if finding.root]
    assert (report.verdict, root.failure_class, root.severity) == ("fails", failure_class, "error")
    assert [found.name for found in root.subjects] == [subject]
    words = shlex.split(str(root.fixes[0].command))
    assert words[:2] == ["hf", "download"]
    hf(*words[1:])
    assert examine().verdict == "loads"


def by_an_older_client(snapshot: Path, *lacking: str) -> None:
    """As a client before 1.0 left it, without the list of files."""
    shutil.rmtree(snapshot.parents[1] / "trees", ignore_errors=True)
    for name in lacking:
        (snapshot / name).unlink()


def test_a_small_file_that_the_snapshot_lacks_is_fetched_and_told(hub: HubServer, snapshot: Path) -> None:
    by_an_older_client(snapshot, "tokenizer.json")
    asked = len(hub.requests)
    report = diagnose(Options(model=REPO, timeout=120))
    assert report.verdict == "loads-with-warnings"
    (root,) = [finding for finding in report.findings if finding.root]
    assert (root.failure_class, [found.name for found in root.subjects]) == ("hub/incomplete-cache", ["tokenizer.json"])
    assert str(root.fixes[0].command).startswith(f"hf download {REPO}")
    assert (snapshot / "tokenizer.json").is_file()
    assert report.network["requests"] == len(hub.requests) - asked <= 4
    assert not [request for request in hub.requests[asked:] if request.path.endswith(".safetensors")]
    assert diagnose(Options(model=REPO, timeout=120)).verdict == "loads"


def test_offline_the_snapshot_is_told_to_lack_what_the_load_looks_for(hub: HubServer, snapshot: Path) -> None:
    by_an_older_client(snapshot, "tokenizer.json")
    asked = len(hub.requests)
    report = examine()
    assert len(hub.requests) == asked
    (root,) = [finding for finding in report.findings if finding.root]
    assert (report.verdict, root.failure_class) == ("fails", "hub/incomplete-cache")
    assert str(root.fixes[0].command).startswith(f"hf download {REPO}")


def test_a_whole_snapshot_that_fails_asks_nobody(hub: HubServer, snapshot: Path) -> None:
    """The repository itself is without tokenizer, as the list of its files says."""
    files = {name: content for name, content in hub.repositories[REPO].files.items() if name != "tokenizer.json"}
    hub.repositories[REPO].commit(files)
    hf("download", REPO)
    asked = len(hub.requests)
    report = diagnose(Options(model=REPO, timeout=120))
    assert [found.failure_class for found in report.findings if found.root] == ["component/missing"]
    assert len(hub.requests) == asked


def test_an_interrupted_download_is_told_as_such_while_it_runs_and_after(hub: HubServer, tmp_path: Path) -> None:
    hub.fault("*/model.safetensors", host="cdn", drip=0.05)
    folder = tmp_path / "home" / "hub" / "models--org--Soprano-80M-bf16"
    client = subprocess.Popen([sys.executable, "-c", _HF, "download", REPO], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (list(folder.glob("blobs/*.incomplete")) and list(folder.glob("snapshots/*/tokenizer.json"))):
        assert time.monotonic() < until
        time.sleep(0.02)
    running = examine()
    client.kill()
    client.wait()
    report = examine()
    assert [finding.rule for finding in running.findings if finding.root] == ["hub-download-under-way"]
    (root,) = [finding for finding in report.findings if finding.root]
    assert (report.verdict, root.rule) == ("fails", "hub-snapshot-incomplete")
    assert "model.safetensors" in {subject.name for subject in root.subjects}


def test_behind_a_snapshot_that_is_not_whole_the_rest_is_examined(snapshot: Path, hub: HubServer) -> None:
    blob = (snapshot / "config.json").resolve()
    config = json.loads(blob.read_text())
    config["hidden_size"] *= 2
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").write_text(json.dumps(config))  # as published, as far as the client can tell
    (snapshot / "tokenizer_config.json").unlink()
    report = examine()
    roots = {finding.failure_class: finding for finding in report.findings if finding.root}
    assert set(roots) == {"hub/incomplete-cache", "hub/corrupt-cache", "config/value-mismatch"}
    assert [fix.applicability for fix in roots["config/value-mismatch"].fixes] == ["verified"]
    assert report.stages[0].status == "blocked"


def test_a_shard_that_did_not_come_is_the_cause_of_what_is_missing(tmp_path: Path, snapshot: Path) -> None:
    (snapshot / "model.safetensors").unlink()
    report = examine()
    assert [finding.failure_class for finding in report.findings if finding.root] == ["hub/incomplete-cache"]


@pytest.mark.long
def test_the_cache_of_another_program(tmp_path: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    report = examine()
    (root,) = [finding for finding in report.findings if finding.root]
    assert (report.verdict, root.failure_class) == ("fails", "hub/offline-uncached")
    command = str(root.fixes[0].command)
    assert command == f"export HF_HUB_CACHE={snapshot.parents[2]}"
    asked = Options(model=REPO, timeout=120, offline=True)
    written, error = write_fixes(report, asked, tmp_path / "mended")
    assert error is None and written.written is not None and written.written.loads
    for ending in ("py", "yaml"):
        (adapter,) = (tmp_path / "mended").glob(f"adapter_*.{ending}")
        words = [sys.executable, str(ROOT / "tests" / "loaded_parameters.py"), "--adapter", str(adapter), REPO]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["error"] is None
        assert "RuntimeWarning" not in done.stderr
    monkeypatch.setenv(*command.removeprefix("export ").split("="))
    assert examine().verdict == "loads"


def test_two_diagnoses_at_once_disturb_neither_each_other_nor_the_cache(snapshot: Path) -> None:
    cache = snapshot.parents[2]

    def everything() -> list[tuple[str, int, int]]:
        return sorted((str(file), file.lstat().st_mtime_ns, file.lstat().st_size) for file in cache.rglob("*"))

    before = everything()
    words = [sys.executable, "-m", "mlx_diagnose", REPO, "--offline", "--json"]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [json.loads(process.communicate()[0])["verdict"] for process in processes] == ["loads", "loads"]
    assert everything() == before
