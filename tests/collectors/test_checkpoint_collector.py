"""The checkpoint collector on real files: what the loader reads, shards, formats, and directories made to harm."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from mlx_diagnose.collectors import checkpoint
from mlx_diagnose.collectors.checkpoint import Checkpoint, collect, formats_of
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.specimen import Tensor, write_safetensors, write_sharded

TENSORS: dict[str, Tensor] = {
    "embed.weight": ("BF16", (10, 4)),
    "layers.0.weight": ("U32", (4, 2)),
    "layers.0.scales": ("BF16", (4, 1)),
    "layers.0.biases": ("BF16", (4, 1)),
}


def look(directory: Path, **options: object) -> tuple[WorkingMemory, Checkpoint]:
    memory = WorkingMemory()
    return memory, collect(memory, directory, **options)  # type: ignore[arg-type]


def files(memory: WorkingMemory) -> dict[Scalar, tuple[Scalar, Scalar, Scalar]]:
    return {fact["file"]: (fact["format"], fact["state"], fact["read_by_loader"]) for fact in memory.of("weights_file")}


def summary(memory: WorkingMemory) -> dict[str, Scalar]:
    fact = memory.one("weights_summary")
    assert fact is not None
    return dict(fact.fields)


def test_one_file(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    memory, found = look(tmp_path)
    assert files(memory) == {"model.safetensors": ("safetensors", "ok", True)}
    assert summary(memory) == {
        "readable": 1,
        "unreadable_format": 0,
        "subfolder": 0,
        "tensors": 4,
        "parameters": 56,
        "bytes": (tmp_path / "model.safetensors").stat().st_size,
        "quantized": True,
        "duplicates": 0,
        "formats": "safetensors",
    }
    assert found.table["embed.weight"] == TensorInfo("bfloat16", (10, 4), "model.safetensors")
    assert (list(found.table), found.incomplete) == (list(TENSORS), None)


def test_only_what_the_loader_globs_is_read(tmp_path: Path) -> None:
    mx = pytest.importorskip("mlx.core")
    utils = pytest.importorskip("mlx_audio.utils")
    write_safetensors(tmp_path / "b.safetensors", {"x": ("F32", (1,)), "y": ("F32", (2,))})
    write_safetensors(tmp_path / "a.safetensors", {"x": ("F32", (1,))})
    write_safetensors(tmp_path / ".hidden.safetensors", {"h": ("F32", (1,))})
    write_safetensors(tmp_path / "c.SAFETENSORS", {"upper": ("F32", (1,))})
    mx.savez(str(tmp_path / "voices.npz"), v=mx.zeros((3,)))
    (tmp_path / "codec").mkdir()
    write_safetensors(tmp_path / "codec" / "model.safetensors", {"z": ("F32", (1,))})
    memory, found = look(tmp_path)
    assert files(memory) == {
        "a.safetensors": ("safetensors", "ok", True),
        "b.safetensors": ("safetensors", "ok", True),
        "c.SAFETENSORS": ("safetensors", "ok", False),
        "voices.npz": ("npz", "ok", False),
        "codec/model.safetensors": ("safetensors", "ok", False),
    }
    assert set(found.table) == set(utils.load_weights(tmp_path))
    said = summary(memory)
    assert [said[name] for name in ("readable", "tensors", "duplicates", "subfolder")] == [2, 2, 1, 1]


def test_npz_is_read_where_there_is_no_safetensors(tmp_path: Path) -> None:
    mx = pytest.importorskip("mlx.core")
    utils = pytest.importorskip("mlx_audio.utils")
    mx.savez(str(tmp_path / "weights.npz"), a=mx.zeros((3, 2)))
    memory, found = look(tmp_path)
    assert files(memory) == {"weights.npz": ("npz", "ok", True)}
    theirs = {name: tuple(array.shape) for name, array in utils.load_weights(tmp_path).items()}
    assert {name: info.shape for name, info in found.table.items()} == theirs
    memory, found = look(tmp_path, formats=formats_of("0.2.9"))
    assert (files(memory), found.table) == ({"weights.npz": ("npz", "ok", False)}, {})
    assert summary(memory)["unreadable_format"] == 1


@pytest.mark.parametrize(
    ("version", "patterns"),
    [
        ("0.6.2", ("*.safetensors", "*.npz")),
        ("0.3.0", ("*.safetensors", "*.npz")),
        ("0.2.10", ("*.safetensors", "LLM/*.safetensors")),
        ("0.1.0", ("*.safetensors",)),
        (None, ("*.safetensors", "*.npz")),
        ("unknown", ("*.safetensors", "*.npz")),
    ],
)
def test_what_older_loaders_look_for(version: str | None, patterns: tuple[str, ...]) -> None:
    assert formats_of(version) == patterns


def test_the_folder_of_old_releases(tmp_path: Path) -> None:
    (tmp_path / "LLM").mkdir()
    write_safetensors(tmp_path / "LLM" / "model.safetensors", {"a": ("F32", (1,))})
    assert list(look(tmp_path, formats=formats_of("0.2.3"))[1].table) == ["a"]
    memory, found = look(tmp_path)
    assert (list(found.table), summary(memory)["subfolder"]) == ([], 1)


def test_formats_that_the_loader_does_not_read(tmp_path: Path) -> None:
    contents = {
        "pytorch_model.bin": b"PK\x03\x04rest",
        "vocoder.pth": b"\x80\x02rest",
        "pointer.bin": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n",
        "ggml-base.bin": b"lmggrest",
        "speakers.bin": b"\0\1\2\3 no weights",
        "optimizer.pt": b"PK\x03\x04rest",
        "training_args.bin": b"PK\x03\x04rest",
        "model.gguf": b"GGUF",
        "model.onnx": b"x",
        "flax_model.msgpack": b"x",
        "tf_model.h5": b"x",
        "parakeet.nemo": b"x",
        "model.ckpt": b"",
        "tokenizer.model": b"x",
        "readme.md": b"x",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    memory, _ = look(tmp_path)
    assert files(memory) == {
        "pytorch_model.bin": ("pytorch", "not-examined", False),
        "vocoder.pth": ("pytorch", "not-examined", False),
        "pointer.bin": ("pytorch", "lfs-pointer", False),
        "ggml-base.bin": ("other", "not-examined", False),
        "model.gguf": ("gguf", "not-examined", False),
        "model.onnx": ("onnx", "not-examined", False),
        "flax_model.msgpack": ("flax", "not-examined", False),
        "tf_model.h5": ("tensorflow", "not-examined", False),
        "parakeet.nemo": ("nemo", "not-examined", False),
        "model.ckpt": ("pytorch", "empty", False),
    }
    said = summary(memory)
    assert (said["unreadable_format"], said["readable"]) == (10, 0)
    assert said["formats"] == "flax,gguf,nemo,onnx,other,pytorch,tensorflow"


def shards(memory: WorkingMemory) -> dict[Scalar, tuple[Scalar, ...]]:
    names = ("index_file", "present", "tensors", "outside", "absent_tensors")
    return {fact["file"]: tuple(fact[name] for name in names) for fact in memory.of("shard")}


def test_an_absent_and_a_truncated_shard(tmp_path: Path) -> None:
    one, two, three = write_sharded(tmp_path, TENSORS, shards=3)
    (tmp_path / two).unlink()
    os.truncate(tmp_path / three, (tmp_path / three).stat().st_size - 1)
    memory, found = look(tmp_path)
    index = "model.safetensors.index.json"
    assert shards(memory) == {
        one: (index, True, 1, False, 0),
        two: (index, False, 1, False, 1),
        three: (index, False, 2, False, 2),
    }
    assert files(memory)[three] == ("safetensors", "truncated", True)
    # The header of the truncated file is whole, so its tensors are known.
    assert set(found.table) == set(TENSORS) - {"layers.0.weight"}
    assert summary(memory)["readable"] == 1


def test_an_index_left_from_before_a_conversion_misses_no_tensor(tmp_path: Path) -> None:
    names = write_sharded(tmp_path, TENSORS, shards=2)
    for name in names:
        (tmp_path / name).unlink()
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    memory, _ = look(tmp_path)
    assert [row[1:] for row in shards(memory).values()] == [(False, 2, False, 0), (False, 2, False, 0)]


def test_several_indexes_and_what_is_none(tmp_path: Path) -> None:
    write_sharded(tmp_path, TENSORS, shards=2, stem="model")
    write_sharded(tmp_path, {"c.0": ("F32", (1,)), "c.1": ("F32", (1,))}, shards=2, stem="codec")
    torch = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(torch))
    for number, text in enumerate(["", "[1]", '{"weight_map": 5}', '{"weight_map": {"a": 5}}', "[" * 100_000, "\0"]):
        (tmp_path / f"x{number}.index.json").write_text(text)
    os.mkfifo(tmp_path / "pipe.index.json")
    memory, _ = look(tmp_path)
    assert {row[0] for row in shards(memory).values()} == {
        "model.safetensors.index.json",
        "codec.safetensors.index.json",
    }
    assert all(row[1] for row in shards(memory).values())


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "/etc/secret.safetensors",
        "a/../../secret.safetensors",
        "..\\secret.safetensors",
        "C:\\secret.safetensors",
        "",
    ],
)
def test_a_shard_outside_is_never_opened(name: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    write_safetensors(tmp_path / "secret.safetensors", {"a": ("F32", (1,))})
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    memory, found = look(model)
    assert shards(memory) == {name: ("model.safetensors.index.json", False, 1, True, 1)}
    assert (found.table, files(memory)) == ({}, {})


def test_a_shard_in_a_folder_is_present(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    write_safetensors(tmp_path / "a" / "b" / "w.safetensors", {"a": ("F32", (1,))})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "a/b/w.safetensors"}}))
    assert [row[1] for row in shards(look(tmp_path)[0]).values()] == [True]


def test_numbers_in_file_names_imply_their_siblings(tmp_path: Path) -> None:
    names = write_sharded(tmp_path, TENSORS, shards=3, index=False)
    (tmp_path / names[1]).unlink()
    write_safetensors(tmp_path / "step-7-of-3.safetensors", {"s": ("F32", (1,))})
    memory, _ = look(tmp_path)
    assert shards(memory) == {
        names[0]: ("", True, 0, False, 0),
        names[1]: ("", False, 0, False, 0),
        names[2]: ("", True, 0, False, 0),
    }


def test_the_cache_of_the_hub_is_links(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    write_safetensors(blobs / "0a1b", TENSORS)
    snapshot = tmp_path / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/0a1b")
    (snapshot / "more.safetensors").symlink_to("../../blobs/gone")
    memory, found = look(snapshot)
    assert files(memory) == {
        "model.safetensors": ("safetensors", "ok", True),
        "more.safetensors": ("safetensors", "dangling-link", True),
    }
    assert set(found.table) == set(TENSORS)


def test_brackets_in_the_name_of_the_directory_hide_the_weights(tmp_path: Path) -> None:
    utils = pytest.importorskip("mlx_audio.utils")
    model = tmp_path / "model[4bit]"
    model.mkdir()
    write_safetensors(model / "model.safetensors", TENSORS)
    with pytest.raises(FileNotFoundError):
        utils.load_weights(model)
    memory, found = look(model)
    assert files(memory) == {"model.safetensors": ("safetensors", "ok", False)}
    (fact,) = memory.of("weights_file")
    assert "the directory's name" in str(fact["detail"])
    assert found.table == {}


def test_directories_that_cannot_be_listed(tmp_path: Path) -> None:
    memory, found = look(tmp_path / "absent")
    assert found.incomplete == "the directory cannot be listed: No such file or directory"
    assert summary(memory)["readable"] == 0
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in str(look(tmp_path / "file")[1].incomplete)
    assert look(tmp_path / "a\0b")[1].incomplete


def test_strange_entries(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe.bin")
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "tab\t\x1b[0m.safetensors").write_bytes(b"\1\2\3")
    if sys.platform == "linux":  # macOS takes no such name
        (tmp_path / os.fsdecode(b"\xff.safetensors")).write_bytes(b"")
    memory, _ = look(tmp_path)
    seen = files(memory)
    assert seen.pop("\\udcff.safetensors", ("safetensors", "empty", True)) == ("safetensors", "empty", True)
    assert seen == {
        "folder.safetensors": ("safetensors", "unreadable", True),
        "pipe.bin": ("pytorch", "unreadable", False),
        "pipe.safetensors": ("safetensors", "unreadable", True),
        "tab\t\\u001b[0m.safetensors": ("safetensors", "truncated", True),
    }


def test_thousands_of_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        (tmp_path / f"{number}.safetensors").write_bytes(b"")
    monkeypatch.setattr(checkpoint, "MAX_ENTRIES", 50)
    monkeypatch.setattr(checkpoint, "MAX_FILES", 40)
    monkeypatch.setattr(checkpoint, "MAX_FACTS", 30)
    memory, found = look(tmp_path)
    assert found.incomplete == "only 40 of 50 weights files were read"
    assert (len(found.files), len(memory.of("weights_file"))) == (40, 30)


def test_time_runs_out(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    memory, found = look(tmp_path, seconds=-1.0)
    assert files(memory) == {"model.safetensors": ("safetensors", "not-examined", True)}
    assert found.incomplete == "not all files were read within -1 seconds"


@pytest.mark.parametrize(
    ("names", "lower"),
    [
        (["model.SAFETENSORS"], {"model.SAFETENSORS": "model.safetensors"}),
        (["a.Safetensors", "b.safetensors"], {"a.Safetensors": "a.safetensors", "b.safetensors": None}),
        (["model.SAFETENSORS", "model.safetensors"], {"model.SAFETENSORS": None, "model.safetensors": None}),
        (["part/model.SAFETENSORS"], {"part/model.SAFETENSORS": None}),
    ],
)
def test_names_that_end_in_another_case(tmp_path: Path, names: list[str], lower: dict[str, str | None]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_safetensors(tmp_path / name, TENSORS)
    memory, _ = look(tmp_path)
    assert {fact["file"]: fact["lower_name"] for fact in memory.of("weights_file")} == lower
