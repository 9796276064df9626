"""A mended copy: as a whole or not at all, links where nothing changed, the original as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_diagnose.adapters import model_copy
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_copy import CopiedFile
from mlx_diagnose.adapters.model_directory import WrittenDirectory, write_directory
from mlx_diagnose.adapters.name_template import escaped
from mlx_diagnose.adapters.safetensors_file import UnwritableError
from mlx_diagnose.engine.model import UsageError
from tests.adapters import stored

ROOT = Path(__file__).parents[2]
PATCH = Mend(config_patch=({"op": "replace", "path": "/width", "value": 2},))
RENAME = Mend(weight_map=({"op": "rename", "from": "model.{rest}", "to": "{rest}"},))


def accept(staged: Path, files: Sequence[CopiedFile]) -> Mapping[str, str]:
    return {"undo.json": "{}"}


@pytest.fixture(autouse=True)
def small_files_are_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_copy, "LINKED_FROM", 100)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory with a weights file, a side file and a voice."""
    path = tmp_path / "models" / "Soprano-1.1-bf16"
    (path / "voices").mkdir(parents=True)
    (path / "config.json").write_text('{\n  "width": 1,\n  "depth": 1e2\n}\n')
    (path / "tokenizer.json").write_text("{}")
    stored.write(path / "model.safetensors", stored.arrays(), {"format": "mlx"})
    stored.write(path / "voices" / "a.safetensors", stored.arrays(1))
    return path


@pytest.fixture
def untouched(model: Path) -> Callable[[], None]:
    """Says whether the original is as it was."""

    def seen() -> list[tuple[str, bytes, int]]:
        files = sorted(file for file in model.rglob("*") if file.is_file())
        return [(str(file), file.read_bytes(), file.stat().st_mtime_ns) for file in files]

    before = seen()

    def check() -> None:
        assert seen() == before

    return check


def written(model: Path, mend: Mend, out: Path) -> WrittenDirectory:
    return write_directory(model, out, mend, accept)


def test_a_patched_config_and_links(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    made = written(model, PATCH, tmp_path / "new" / "out")
    assert (made.path / "config.json").read_text() == '{\n  "width": 2,\n  "depth": 1e2\n}\n'
    assert os.path.samefile(made.path / "model.safetensors", model / "model.safetensors")
    assert os.path.samefile(made.path / "voices" / "a.safetensors", model / "voices" / "a.safetensors")
    assert not os.path.samefile(made.path / "tokenizer.json", model / "tokenizer.json")
    assert {file.file: file.how for file in made.files} == {
        "config.json": "written",
        "diagnose/undo.json": "written",
        "model.safetensors": "hard-link",
        "tokenizer.json": "copy",
        "voices/a.safetensors": "hard-link",
    }
    assert os.listdir(made.path.parent) == ["out"]
    untouched()


def test_a_snapshot_of_the_hub_is_linked_by_its_blobs(model: Path, tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "0a1b"
    blob.parent.mkdir()
    (model / "model.safetensors").rename(blob)
    (model / "model.safetensors").symlink_to(blob)
    made = written(model, PATCH, tmp_path / "out")
    assert not (made.path / "model.safetensors").is_symlink()
    assert os.path.samefile(made.path / "model.safetensors", blob)
    (file,) = [file for file in made.files if file.file == "model.safetensors"]
    assert "blob" in file.why


def test_where_no_hard_link_can_be_a_symbolic_one_leads_to_the_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    made = written(model, PATCH, tmp_path / "out")
    assert (made.path / "model.safetensors").readlink() == (model / "model.safetensors").resolve()
    assert {file.how for file in made.files if file.file.endswith(".safetensors")} == {"symlink"}


def test_every_operation_on_weights(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    before = stored.arrays()
    mend = Mend(
        weight_map=(
            {"op": "rename", "from": "model.layers.{i}.bias", "to": "layers.{i}.bias"},
            {"op": "transpose", "name": "model.layers.0.weight", "axes": [0, 2, 1]},
            {"op": "cast", "name": "layers.1.bias", "dtype": "float32"},
            {"op": "drop", "name": "layers.2.bias"},
            {"op": "split", "from": "model.layers.1.weight", "axis": 1, "to": ["q", "k"], "sizes": [1, 2]},
            {"op": "add", "name": "ids", "how": "arange", "shape": [1, 4], "dtype": "int8"},
        )
    )
    made = written(model, mend, tmp_path / "out")
    found = stored.read(made.path / "model.safetensors")
    expected = {
        "model.layers.0.weight": before["model.layers.0.weight"].transpose(0, 2, 1),
        "layers.0.bias": before["model.layers.0.bias"],
        "q": before["model.layers.1.weight"][:, :1],
        "k": before["model.layers.1.weight"][:, 1:],
        "layers.1.bias": before["model.layers.1.bias"].astype(np.float32),
        "model.layers.2.weight": before["model.layers.2.weight"],
        "ids": np.arange(4, dtype=np.int8).reshape(1, 4),
    }
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array), name
    header = (made.path / "model.safetensors").read_bytes()
    assert b'"__metadata__":{"format":"mlx"}' in header
    untouched()


def test_shards_are_written_again_only_where_something_changes(model: Path, tmp_path: Path) -> None:
    parts = stored.arrays()
    (model / "model.safetensors").unlink()
    shards = {f"model-0000{n + 1}-of-00003.safetensors": dict(list(parts.items())[2 * n : 2 * n + 2]) for n in range(3)}
    index: dict[str, Any] = {"metadata": {"total_size": 1, "by": "me"}, "weight_map": {}}
    for file, arrays in shards.items():
        stored.write(model / file, arrays)
        index["weight_map"].update(dict.fromkeys(arrays, file))
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    join = {"op": "join", "from": ["model.layers.1.weight", "model.layers.2.weight"], "axis": 0, "to": "joined"}
    made = written(model, Mend(weight_map=(join,)), tmp_path / "out")
    first, second, third = shards
    assert os.path.samefile(made.path / first, model / first)
    assert np.array_equal(
        stored.read(made.path / second)["joined"],
        np.concatenate([parts["model.layers.1.weight"], parts["model.layers.2.weight"]]),
    )
    assert list(stored.read(made.path / third)) == ["model.layers.2.bias"]
    updated = json.loads((made.path / "model.safetensors.index.json").read_text())
    assert updated["weight_map"] == {name: file for file in shards for name in stored.read(made.path / file)}
    assert updated["metadata"] == {"total_size": sum(array.nbytes for array in parts.values()), "by": "me"}


def test_a_file_whose_tensors_all_went_elsewhere_is_left_out(model: Path, tmp_path: Path) -> None:
    stored.write(model / "tail.safetensors", {"model.tail": stored.arrays()["model.layers.0.weight"]})
    join = {"op": "join", "from": ["model.layers.0.weight", "model.tail"], "axis": 2, "to": "joined"}
    made = written(model, Mend(weight_map=(join,)), tmp_path / "out")
    assert not (made.path / "tail.safetensors").exists()
    assert stored.read(made.path / "model.safetensors")["joined"].shape == (4, 3, 4)


def test_holes_stay_holes_and_what_is_between_them_is_kept(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    values = {"model.a": np.zeros(1 << 20, np.float32), "model.b": np.ones(1 << 18, np.float32)}
    stored.write(model / "model.safetensors", values)
    file = model / "model.safetensors"
    data = file.read_bytes()
    with file.open("r+b") as stream:  # written again with its zeros left out
        stream.truncate(0)
        start = len(data) - values["model.b"].nbytes
        stream.write(data[: len(data) - sum(array.nbytes for array in values.values())])
        stream.seek(start)
        stream.write(data[start:])
    made = written(model, RENAME, tmp_path / "out")
    found = stored.read(made.path / "model.safetensors")
    assert np.array_equal(found["a"], values["model.a"])
    assert np.array_equal(found["b"], values["model.b"])
    if file.stat().st_blocks * 512 < len(data):
        assert (made.path / "model.safetensors").stat().st_blocks * 512 < len(data)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "rename", "from": "absent.{rest}", "to": "{rest}"},
        {"op": "rename", "from": "model.layers.0.bias", "to": "model.layers.1.bias"},
    ],
)
def test_a_map_that_does_not_fit_is_refused(model: Path, tmp_path: Path, operation: dict[str, Any]) -> None:
    with pytest.raises(UnwritableError, match="cannot be mended"):
        written(model, Mend(weight_map=(operation,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


_NAMES = st.text(max_size=20) | st.sampled_from(
    ['"', "'", "\\", "\n", "a\\u0000", "\x00", "\u2028", '": {}, "', "{rest}", "../x", "ü", "\U0001f600", "__metadata"]
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_NAMES.filter(bool), min_size=2, max_size=4, unique=True))
def test_any_names_of_tensors(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """They go through the header and the map as they are, and change nothing but themselves."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "model").mkdir()
    arrays = {name: np.full(3, number, np.float32) for number, name in enumerate(names)}
    stored.write(folder / "model" / "model.safetensors", arrays)
    operation = {"op": "rename", "from": escaped(names[0]), "to": escaped(f"{names[0]}{names[1]}")}
    if f"{names[0]}{names[1]}" in names:
        return
    made = written(folder / "model", Mend(weight_map=(operation,)), folder / "out")
    found = stored.read(made.path / "model.safetensors")
    assert list(found) == [f"{names[0]}{names[1]}", *names[1:]]
    assert [array[0] for array in found.values()] == list(range(len(names)))
    assert sorted(path.name for path in made.path.iterdir()) == ["diagnose", "model.safetensors"]


def test_a_mended_copy_is_mended_again(model: Path, tmp_path: Path) -> None:
    once = written(model, PATCH, tmp_path / "once")
    (once.path / "diagnose" / "large").write_text("x" * 1000)
    twice = written(once.path, RENAME, tmp_path / "twice")
    assert [file.name for file in (twice.path / "diagnose").iterdir()] == ["undo.json"]


# -- what can go wrong while writing ------------------------------------------------------


def test_an_existing_target_is_not_touched(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        written(model, PATCH, out)
    assert [file.read_text() for file in out.iterdir()] == ["mine"]
    (out / "mine").unlink()
    assert (written(model, PATCH, out).path / "config.json").exists()


def test_the_model_itself_is_no_target(model: Path, untouched: Callable[[], None]) -> None:
    for out in (model, model / "fixed"):
        with pytest.raises(UsageError):
            written(model, PATCH, out)
    untouched()


def test_a_target_that_cannot_be_made(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableError) as caught:
        written(model, PATCH, tmp_path / "file" / "out")
    assert caught.value.reference == "cannot-write"
    untouched()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UnwritableError("mended-copy-fails", "It does not load.")])
def test_nothing_is_left_of_what_was_refused_or_interrupted(
    model: Path, tmp_path: Path, untouched: Callable[[], None], error: BaseException
) -> None:
    def refuse(staged: Path, _: Sequence[CopiedFile]) -> Mapping[str, str]:
        assert staged.name == "out" and (staged / "model.safetensors").exists()
        raise error

    with pytest.raises(type(error)):
        write_directory(model, tmp_path / "deep" / "new" / "out", RENAME, refuse)
    assert sorted(os.listdir(tmp_path)) == ["models"]
    untouched()


_WRITER = """
import resource, signal, sys
from pathlib import Path
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_directory import write_directory
from mlx_diagnose.adapters.name_template import escaped
from mlx_diagnose.adapters.safetensors_file import UnwritableError
limit = int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
mend = Mend(weight_map=({"op": "rename", "from": "model.{rest}", "to": "{rest}"},))
def progress(*_):
    print("writing", flush=True)
    if not limit:
        sys.stdin.readline()
try:
    write_directory(Path(sys.argv[1]), Path(sys.argv[2]), mend, lambda *_: {}, progress)
except UnwritableError as error:
    print(error.reference)
"""


def _writer(model: Path, out: Path, limit: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", _WRITER, str(model), str(out), str(limit)]
    return subprocess.Popen(
        words,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever started the tests may have told its children to ignore interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_a_full_disk(model: Path, tmp_path: Path, untouched: Callable[[], None]) -> None:
    size = (model / "model.safetensors").stat().st_size
    process = _writer(model, tmp_path / "out", size // 2)
    out, _ = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "disk-full"
    assert sorted(os.listdir(tmp_path)) == ["models"]
    untouched()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_while_a_file_is_being_written(
    model: Path, tmp_path: Path, untouched: Callable[[], None], number: int
) -> None:
    process = _writer(model, tmp_path / "out", 0)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert sorted(os.listdir(tmp_path)) == ["models"]
    untouched()
