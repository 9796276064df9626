"""The state of caches that the real client wrote, whole and broken in one place."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, SoftFileLock
from huggingface_hub import hf_hub_download, snapshot_download

from mlx_diagnose.collectors.hub_cache import Request, collect
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact
from mlx_diagnose.engine.specimen import write_safetensors
from tests.hub import HubServer, Repository

REPO = "org/voice"
PATTERNS = ("*.json", "*.safetensors", "*.txt")
FOLDER = "models--org--voice"
#: Later clients of the 1 series keep the list of a commit's files; what is told of it needs one.
lists = pytest.mark.skipif(
    find_spec("huggingface_hub._tree_cache") is None, reason="this client keeps no list of files"
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("published")
    (directory / "config.json").write_text('{"model_type": "kokoro"}')
    (directory / "README.md").write_text("# Voice")
    (directory / "spiece.vocab").write_text("a\t0")
    (directory / "voices").mkdir()
    (directory / "voices" / "a b.txt").write_text("one voice")
    for shard in (1, 2):
        tensors = {f"layer.{shard}.weight": ("F32", (64, 64))}
        write_safetensors(directory / f"model-0000{shard}-of-00002.safetensors", tensors, body="random")
    weight_map = {f"layer.{shard}.weight": f"model-0000{shard}-of-00002.safetensors" for shard in (1, 2)}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return directory


@pytest.fixture
def hub(published: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(Repository.from_directory(REPO, published))
        yield server


class Cache:
    """A cache that the real client fills, and its state."""

    def __init__(self, hub: HubServer, home: Path) -> None:
        self.hub, self.root, self.environ = hub, home / "hub", {"HF_HOME": str(home)}

    @property
    def folder(self) -> Path:
        return self.root / FOLDER

    @property
    def commit(self) -> str:
        return self.hub.repositories[REPO].head

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshots" / self.commit

    def fill(self, patterns: tuple[str, ...] | None = PATTERNS, revision: str | None = None) -> Cache:
        snapshot_download(
            REPO, revision=revision, allow_patterns=patterns, cache_dir=self.root, endpoint=self.hub.url, token=False
        )
        return self

    def forget_listing(self) -> Cache:
        shutil.rmtree(self.folder / "trees")
        return self

    def facts(self, **request: Any) -> WorkingMemory:
        memory = WorkingMemory()
        collect(memory, [Request(**{"repo": REPO, "patterns": PATTERNS, **request})], self.environ)
        return memory

    def state(self, **request: Any) -> Fact:
        (fact,) = self.facts(**request).of("cached_repository")
        return fact

    def files(self, **request: Any) -> dict[str, str]:
        return {str(fact["file"]): str(fact["state"]) for fact in self.facts(**request).of("cached_file")}


@pytest.fixture
def cache(hub: HubServer, tmp_path: Path) -> Cache:
    return Cache(hub, tmp_path)


@lists
def test_a_whole_snapshot_is_complete_and_nothing_is_asked_of_the_hub(cache: Cache) -> None:
    cache.fill()
    asked = len(cache.hub.requests)
    fact = cache.state()
    assert (fact["state"], fact["ref"], fact["commit"], fact["listed"]) == ("complete", "ok", cache.commit, True)
    assert (fact["missing"], fact["damaged"], fact["partial"], fact["copies"]) == (0, 0, 0, False)
    assert cache.files(thorough=True) == {}
    assert len(cache.hub.requests) == asked
    (place,) = cache.facts().of("hub_cache")
    assert (place["chosen_by"], place["exists"], place["writable"]) == ("HF_HOME", True, True)


@lists
def test_what_another_program_left_out_is_named_with_the_command(cache: Cache) -> None:
    cache.fill(("config.json", "*.index.json"))
    fact = cache.state()
    assert (fact["state"], fact["missing"], fact["fits"]) == ("incomplete", 3, True)
    assert int(fact["missing_bytes"] or 0) == sum(
        cache.hub.repositories[REPO].files[name].size
        for name in ("voices/a b.txt", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    )
    assert cache.files() == {
        "model-00001-of-00002.safetensors": "absent",
        "model-00002-of-00002.safetensors": "absent",
        "voices/a b.txt": "absent",
    }
    assert fact["fetch"] == (
        f"{REPO} model-00001-of-00002.safetensors model-00002-of-00002.safetensors 'voices/a b.txt'"
        f" --revision {cache.commit}"
    )


@lists
def test_without_a_list_of_files_the_index_tells_what_is_missing(cache: Cache) -> None:
    cache.fill(("config.json", "*.index.json", "*00001*")).forget_listing()
    assert cache.files() == {"model-00002-of-00002.safetensors": "absent"}
    assert cache.state()["state"] == "incomplete"


@lists
def test_without_index_the_numbers_tell(cache: Cache) -> None:
    cache.fill(("config.json", "*00001*")).forget_listing()
    assert cache.files() == {"model-00002-of-00002.safetensors": "absent"}


def test_without_weights_something_is_missing_whatever_its_name(cache: Cache) -> None:
    hf_hub_download(REPO, "config.json", cache_dir=cache.root, endpoint=cache.hub.url, token=False)
    shutil.rmtree(cache.folder / "trees", ignore_errors=True)
    fact = cache.state()
    assert (fact["state"], fact["missing"], fact["missing_bytes"]) == ("incomplete", 1, None)
    assert fact["fetch"] == f"{REPO} --revision {cache.commit}"


@lists
def test_a_shard_that_the_repository_does_not_have_is_not_missing_here(cache: Cache) -> None:
    repository = cache.hub.repositories[REPO]
    repository.commit({name: content for name, content in repository.files.items() if "00002" not in name})
    cache.fill()
    assert cache.state()["state"] == "complete"


def test_an_interrupted_download_leaves_its_traces(cache: Cache) -> None:
    cache.hub.fault("*model-00002*", host="cdn", drip=0.05)
    program = f"from huggingface_hub import snapshot_download; snapshot_download({REPO!r})"
    environment = {**os.environ, **cache.hub.environment(cache.root.parent)}
    client = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL)
    blob = cache.hub.repositories[REPO].files["model-00002-of-00002.safetensors"].sha256
    wait_for(lambda: bool(list((cache.folder / "blobs").glob(f"{blob}.*incomplete"))) and _linked(cache.snapshot) == 6)
    busy = cache.state()
    assert (busy["state"], busy["downloading"], busy["partial"]) == ("incomplete", True, 1)
    client.send_signal(signal.SIGKILL)
    client.wait()
    fact = cache.state()
    assert (fact["state"], fact["downloading"], fact["partial"]) == ("incomplete", False, 1)
    assert cache.files() == {"model-00002-of-00002.safetensors": "absent"}
    cache.hub.faults.clear()
    cache.fill()
    assert cache.state()["state"] == "complete"


def _linked(snapshot: Path) -> int:
    return sum(1 for file in snapshot.rglob("*") if file.is_file())


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@lists
def test_a_blob_of_another_size_is_told_from_the_list(cache: Cache) -> None:
    shard = cache.fill().snapshot / "model-00001-of-00002.safetensors"
    os.truncate(shard.resolve(), 5000)
    (fact,) = cache.facts().of("cached_file")
    assert (fact["file"], fact["state"], fact["size"]) == (shard.name, "wrong-size", 5000)
    assert fact["expected_size"] == cache.hub.repositories[REPO].files[shard.name].size
    assert cache.state()["refetch"] == f"{REPO} {shard.name} --revision {cache.commit}"
    assert cache.state()["state"] == "damaged"


@lists
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00002.safetensors"])
def test_a_small_file_is_held_against_the_hash_that_names_it(cache: Cache, name: str, listed: bool) -> None:
    cache.fill()
    if not listed:
        cache.forget_listing()
    blob = (cache.snapshot / name).resolve()
    data = bytearray(blob.read_bytes())
    data[-3] ^= 1
    blob.write_bytes(data)
    assert cache.files() == {name: "wrong-content"}


@lists
def test_what_was_published_cut_off_is_not_the_caches_fault(cache: Cache, published: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(published, cut)
    os.truncate(cut / "model-00001-of-00002.safetensors", 5000)
    cache.hub.add(Repository.from_directory(REPO, cut))
    cache.fill()
    found = {"model-00001-of-00002.safetensors": "as-published"}
    assert cache.files(thorough=True) == found
    assert cache.files(suspects=frozenset(found)) == found
    assert cache.forget_listing().files(thorough=True) == found  # its name is its hash
    assert cache.state(thorough=True)["state"] == "complete"


@lists
def test_a_file_that_no_hash_names_is_judged_by_its_header(cache: Cache) -> None:
    shard = cache.fill().forget_listing().snapshot / "model-00001-of-00002.safetensors"
    data = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(data[:5000])
    assert cache.files(thorough=True) == {shard.name: "unsound"}
    assert cache.files() == {}


def test_links_to_nothing(cache: Cache) -> None:
    (cache.fill().snapshot / "config.json").resolve().unlink()
    (fact,) = cache.facts().of("cached_file")
    assert (fact["file"], fact["state"]) == ("config.json", "dangling")
    assert fact["blob"] == cache.hub.repositories[REPO].files["config.json"].blob_id(lfs=False)


def test_a_cache_of_copies_is_as_good(cache: Cache) -> None:
    cache.fill()
    for file in [file for file in cache.snapshot.rglob("*") if file.is_symlink()]:
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)
    shutil.rmtree(cache.folder / "blobs")
    fact = cache.state(thorough=True)
    assert (fact["state"], fact["copies"]) == ("complete", True)


def test_branches_commits_and_what_they_stand_for(cache: Cache) -> None:
    assert cache.state()["state"] == "uncached"
    first = cache.commit
    cache.fill()
    cache.hub.repositories[REPO].commit(dict(list(cache.hub.repositories[REPO].files.items())[:2]), branch="v2")
    v2 = cache.hub.repositories[REPO].refs["v2"]
    fact = cache.state(revision="v2")
    assert (fact["state"], fact["other_revision"], fact["others"]) == ("other-revision", "main", 1)
    assert cache.state(revision=v2)["state"] == "other-revision"
    assert cache.state(revision=first)["ref"] == "commit"
    assert cache.state(revision=first)["state"] == "complete"
    cache.fill(revision="v2")
    assert cache.state(revision="v2")["commit"] == v2
    assert cache.state()["commit"] == first
    (cache.folder / "refs" / "main").unlink()
    assert cache.state()["state"] == "other-revision"
    (cache.folder / "refs" / "v2").unlink()
    assert cache.state()["state"] == "no-ref"


@pytest.mark.parametrize(("text", "ref"), [("", "empty"), ("\0" * 40, "malformed"), ("../../../etc", "malformed")])
def test_a_ref_that_was_damaged(cache: Cache, text: str, ref: str) -> None:
    (cache.fill().folder / "refs" / "main").write_text(text)
    fact = cache.state()
    assert (fact["state"], fact["ref"], fact["other_revision"]) == ("bad-ref", ref, cache.commit)


def test_a_branch_whose_snapshot_is_gone(cache: Cache) -> None:
    shutil.rmtree(cache.fill().folder / "snapshots")
    assert cache.state()["state"] == "no-snapshot"
    assert cache.state()["fetch"] == f"{REPO} --revision {cache.commit}"


@lists
def test_files_that_the_patterns_leave_out(cache: Cache) -> None:
    cache.fill()
    (fact,) = cache.facts().of("left_out_file")  # README.md is for people
    assert (fact["file"], fact["present"]) == ("spiece.vocab", False)
    assert fact["fetch"] == f"{REPO} spiece.vocab --revision {cache.commit}"
    cache.fill(("*.vocab",))
    assert [fact["present"] for fact in cache.facts().of("left_out_file")] == [True]
    assert not cache.facts(patterns=None).of("left_out_file")


def test_marks_of_absence(cache: Cache) -> None:
    cache.fill()
    marks = cache.folder / ".no_exist" / cache.commit
    marks.mkdir(parents=True)
    (marks / "adapter_config.json").touch()
    (marks / "config.json").touch()
    found = {fact["file"]: fact["contradicted"] for fact in cache.facts().of("marked_absent")}
    assert found == {"adapter_config.json": False, "config.json": True}


def test_another_cache_of_the_same_user(cache: Cache, tmp_path: Path) -> None:
    cache.fill()
    environ = {"HF_HUB_CACHE": str(tmp_path / "other cache"), "HF_HOME": str(tmp_path)}
    memory = WorkingMemory()
    collect(memory, [Request(REPO)], environ)
    (fact,) = memory.of("cached_elsewhere")
    assert (fact["cache"], fact["whole"]) == (str(cache.root), True)
    assert fact["assignment"] == f"HF_HUB_CACHE={cache.root}"
    assert memory.of("hub_cache")[0]["exists"] is False


def test_locks_that_are_held_and_locks_that_were_left(cache: Cache) -> None:
    cache.fill(("config.json",))
    locks = cache.root / ".locks" / FOLDER
    assert list(locks.glob("*.lock"))  # the client leaves them, and nobody holds them
    assert (cache.state()["downloading"], cache.state()["stale_locks"]) == (False, 0)
    with FileLock(locks / "a.lock"):
        assert cache.state()["downloading"] is True
    soft = SoftFileLock(locks / "b.lock")
    with soft:
        assert cache.state()["downloading"] is True
        written = (locks / "b.lock").read_text()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (locks / "c.lock").write_text(written.replace(str(os.getpid()), str(gone.pid)))
    assert (cache.state()["downloading"], cache.state()["stale_locks"]) == (False, 1)


def test_a_user_who_may_not_read_or_write(cache: Cache, tmp_path: Path) -> None:
    cache.fill()
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == cache.root.owner() and path.stat().st_mode & 0o005 != 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    assert as_nobody(cache) == {"complete": [False, {}]}
    (cache.snapshot / "config.json").resolve().chmod(0)
    assert as_nobody(cache) == {"damaged": [False, {"config.json": "unreadable"}]}
    cache.folder.chmod(0)
    try:
        assert as_nobody(cache) == {"unreadable": [False, {}]}
    finally:
        cache.folder.chmod(0o755)


def as_nobody(cache: Cache) -> Any:
    """What a user without rights sees; a process that forks, since modules may lie where they cannot look."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            memory = cache.facts()
            fact = memory.of("cached_repository")[0]
            files = {str(found["file"]): found["state"] for found in memory.of("cached_file")}
            os.write(writer, repr({fact["state"]: [fact["writable"], files]}).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    return ast.literal_eval(data.decode())


@lists
def test_names_from_the_network_stay_inside(cache: Cache) -> None:
    cache.fill()
    listing = cache.folder / "trees" / f"{cache.commit}.json"
    names = ("../../../secret.json", "/etc/x.json", "config.json")
    files = {name: {"size": 5, "blob_id": "x"} for name in names}
    listing.write_text(json.dumps({"format_version": 1, "files": files}))
    assert set(cache.files()) == {"config.json"}


@lists
@pytest.mark.parametrize("damage", [b"", b"[]", b'{"format_version": 9}', b"\xff\xfe", b"[" * 100_000])
def test_a_list_of_files_that_cannot_be_read_is_none(cache: Cache, damage: bytes) -> None:
    cache.fill()
    (cache.folder / "trees" / f"{cache.commit}.json").write_bytes(damage)
    fact = cache.state()
    assert (fact["state"], fact["listed"]) == ("complete", False)


def test_looking_changes_nothing(cache: Cache) -> None:
    cache.fill(("config.json",))

    def everything() -> list[tuple[str, int, int]]:
        return sorted(
            (str(file), file.lstat().st_mtime_ns, file.lstat().st_size) for file in cache.root.parent.rglob("*")
        )

    before = everything()
    cache.facts(thorough=True)
    assert everything() == before
