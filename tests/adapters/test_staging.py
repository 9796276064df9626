"""Disks that are full or read-only, and writers that are killed: real ones, also for root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_directory import write_directory
from mlx_diagnose.adapters.safetensors_file import UnwritableError
from mlx_diagnose.adapters.staging import MARK, PREFIX
from tests.adapters import stored

ROOT = Path(__file__).parents[2]
RENAME = Mend(weight_map=({"op": "rename", "from": "model.{rest}", "to": "{rest}"},))

#: Writes argv[1], mended, to argv[2]; told "fill" it takes all room of the disk when the first bytes are written,
#: told "wait" it waits then.
_WRITER = """
import os, sys
from pathlib import Path
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_directory import write_directory
from mlx_diagnose.adapters.safetensors_file import UnwritableError
model, target, told = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
full = []
def progress(*_):
    if told == "wait":
        print("writing", flush=True)
        sys.stdin.readline()
    if told == "fill" and not full:
        full.append(target.parent / "other")
        with full[0].open("wb", buffering=0) as other:
            try:
                while other.write(bytes(1 << 16)):
                    pass
            except OSError:
                pass
mend = Mend(weight_map=({"op": "rename", "from": "model.{rest}", "to": "{rest}"},))
try:
    write_directory(model, target, mend, lambda *_: {}, progress)
except UnwritableError as error:
    print(error.reference)
else:
    print("written")
print(sorted(os.listdir(target.parent)))
"""
_MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && if [ -n "$3" ]; then mount -o "$3" "$2"; fi && shift 3 && exec "$@"'


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Weights of some megabytes, in several tensors."""
    path = tmp_path / "models" / "Soprano-80M"
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    arrays = {f"model.{n}": np.arange(1 << 17, dtype=np.float32) + n for n in range(8)}
    stored.write(path / "model.safetensors", arrays, {"format": "mlx"})
    return path


@pytest.fixture
def untouched(model: Path) -> Callable[[], None]:
    """Says whether the original is as it was."""

    def seen() -> list[tuple[str, bytes, int]]:
        return [(str(file), file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(model.iterdir())]

    before = seen()

    def check() -> None:
        assert seen() == before

    return check


def writer(model: Path, target: Path, told: str = "write", within: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    words = [*within, sys.executable, "-c", _WRITER, str(model), str(target), told]
    pipes = subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, stdin=pipes, stdout=pipes, stderr=pipes, text=True)


def mounted(disk: Path, size: str, again: str = "") -> tuple[str, ...]:
    """The beginning of a command that sees a file system of its own at ``disk``; skips where that is not allowed."""
    disk.mkdir()
    words = ("unshare", "-rm", "sh", "-c", _MOUNT, "sh", size, str(disk), again)
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    return words


def test_a_disk_that_fills_up_meanwhile(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    disk = tmp_path / "disk"
    out, errors = writer(model, disk / "out", "fill", mounted(disk, "24m")).communicate(timeout=120)
    assert out.splitlines() == ["disk-full", "['other']"], errors
    untouched()


def test_a_disk_that_is_too_small(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    disk = tmp_path / "disk"
    out, errors = writer(model, disk / "out", "write", mounted(disk, "1m")).communicate(timeout=120)
    assert out.splitlines() == ["disk-full", "[]"], errors
    untouched()


def test_a_disk_of_its_own(model: Path, tmp_path: Path) -> None:
    """What the others refuse is possible there: no hard link leads to the original from it."""
    disk = tmp_path / "disk"
    out, errors = writer(model, disk / "out", "write", mounted(disk, "64m")).communicate(timeout=120)
    assert out.splitlines() == ["written", "['out']"], errors


def test_a_disk_that_is_mounted_read_only(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    disk = tmp_path / "disk"
    out, errors = writer(model, disk / "out", "write", mounted(disk, "64m", "remount,ro")).communicate(timeout=120)
    assert out.splitlines() == ["cannot-write", "[]"], errors
    untouched()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has /proc")
def test_a_place_where_nobody_can_write(model: Path, untouched: Callable[[], None]) -> None:
    """Also for root, in any container."""
    with pytest.raises(UnwritableError) as caught:
        write_directory(model, Path("/proc/diagnose-out"), RENAME, lambda *_: {})
    assert caught.value.reference == "cannot-write"
    untouched()


def test_a_folder_that_must_not_change(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    """By its mode, or for root by an attribute."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    as_root = os.geteuid() == 0
    if as_root:
        if not shutil.which("chattr") or subprocess.run(["chattr", "+i", folder], capture_output=True).returncode:
            pytest.skip("this file system has no such attribute")
    else:
        folder.chmod(0o500)
    try:
        with pytest.raises(UnwritableError) as caught:
            write_directory(model, folder / "out", RENAME, lambda *_: {})
    finally:
        if as_root:
            subprocess.run(["chattr", "-i", folder], check=True)
    assert caught.value.reference == "cannot-write"
    untouched()


def test_what_a_killed_writer_leaves_goes_with_the_next(
    model: Path, tmp_path: Path, untouched: Callable[[], None]
) -> None:
    target = tmp_path / "made" / "Soprano-80M"
    target.parent.mkdir()
    (tmp_path / "made" / f"{PREFIX}mine").mkdir()  # of somebody else, by chance
    process = writer(model, target, "wait")
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (left,) = [entry for entry in target.parent.iterdir() if (entry / MARK).exists()]
    assert left.name.startswith(PREFIX) and not target.exists()
    untouched()

    at_work = writer(model, tmp_path / "made" / "another", "wait")
    assert at_work.stdout is not None and at_work.stdout.readline() == "writing\n"
    assert not left.exists()
    write_directory(model, target, RENAME, lambda *_: {})
    assert [entry for entry in target.parent.iterdir() if (entry / MARK).exists()], "one at work is left alone"
    at_work.communicate("\n" * 1000, timeout=60)
    assert sorted(os.listdir(target.parent)) == [f"{PREFIX}mine", "Soprano-80M", "another"]
    assert len(stored.read(target / "model.safetensors")) == 8
    untouched()
