"""The reader of safetensors headers: every state, MLX's own opinion of it, and hostile input."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors import safetensors_header
from mlx_diagnose.collectors.tensors import SAFETENSORS_DTYPES, TensorInfo
from mlx_diagnose.collectors.weights_file import WeightsFile

mx = pytest.importorskip("mlx.core")


def entry(dtype: str = "F32", shape: Any = (4,), start: Any = 0, end: Any = 16, **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end], **more}


def content(header: Any, body: int = 16, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(body)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    return path


def mlx_reads(path: Path) -> bool:
    """MLX opens the file and evaluates every tensor."""
    try:
        mx.eval(list(mx.load(str(path)).values()))
    except Exception:
        return False
    return True


SOUND = {
    "one tensor": content({"a": entry()}),
    "MLX's order of keys": content({"a": {"data_offsets": [0, 16], "dtype": "F32", "shape": [4]}}),
    "another order": content({"a": {"shape": [4], "dtype": "F32", "data_offsets": [0, 16]}}),
    "compact": content(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "padded": content(b' {"a" : { "dtype":"F32","shape":[ 4 ],"data_offsets":[0, 16]} }      '),
    "byte order mark": content(b'\xef\xbb\xbf{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
    "no tensors": content({}, 0),
    "scalar and metadata": content({"__metadata__": {"format": "pt", "x": 'a"\\'}, "a": entry(shape=(), end=4)}),
    "empty metadata": content({"__metadata__": {}, "a": entry()}),
    "no elements": content({"a": entry(shape=(0, 4), end=0)}, 0),
    "more keys": content({"a": entry(extra={"deep": [1, {"x": "}"}]})}),
    "escaped name": content({'a"\u00e9\\': entry()}),
    "bytes after the end": content({"a": entry()}, 40),
    "unused bytes between": content({"a": entry(), "b": entry(start=32, end=48)}, 48),
    "NUL padding": content(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}\0\0\0'),
    "not in order": content({"b": entry(start=16, end=32), "a": entry()}, 32),
}

BROKEN = {
    "truncated": (content({"a": entry(), "b": entry(start=16, end=32)}, 24), "truncated"),
    "no body": (content({"a": entry()}, 0), "truncated"),
    "half a header": (content({"a": entry()}, 0)[:-20], "truncated"),
    "three bytes": (b"\1\2\3", "truncated"),
    "empty": (b"", "empty"),
    "huge": (content({}, 0, length=1 << 63), "header-too-large"),
    "all ones": (b"\xff" * 8, "header-too-large"),
    "just too large": (content({}, 0, length=100_000_001), "header-too-large"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1234567\n", "lfs-pointer"),
    "HTML": (b"<!DOCTYPE html><html><body>Not found</body></html>", "header-corrupt"),
    "text": (b"Entry not found", "header-corrupt"),
    "not JSON": (content(b"{'a': 1}"), "header-corrupt"),
    "nothing": (content(b""), "header-corrupt"),
    "a list": (content([1]), "header-corrupt"),
    "open": (content(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'), "header-corrupt"),
    "comma at the end": (content(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},}'), "header-corrupt"),
    "followed by junk": (content(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}x'), "header-corrupt"),
    "not a number": (content(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"z":NaN}}'), "header-corrupt"),
    "entry is a number": (content({"a": 5}), "header-corrupt"),
    "no offsets": (content({"a": {"dtype": "F32", "shape": [4]}}), "header-corrupt"),
    "size against shape": (content({"a": entry(end=12)}), "header-corrupt"),
    "offsets reversed": (content({"a": entry(start=16, end=0)}), "header-corrupt"),
    "negative offset": (content({"a": entry(start=-1, end=15)}), "header-corrupt"),
    "negative axis": (content({"a": entry(shape=(-4,))}), "header-corrupt"),
    "axis of text": (content({"a": entry(shape=("4",))}), "header-corrupt"),
    "unknown type": (content({"a": entry("float32")}), "header-corrupt"),
    "name is not UTF-8": (content(b'{"\xff":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'), "header-corrupt"),
    "name is no character": (
        content(b'{"\\ud800":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        "header-corrupt",
    ),
    "bad escape": (content(b'{"\\x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'), "header-corrupt"),
    "metadata with a number": (content({"__metadata__": {"a": 5}, "a": entry()}), "header-corrupt"),
    "deep": (content(b"[" * 100_000 + b"]" * 100_000), "header-corrupt"),
    "deep entry": (content(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "header-corrupt"),
    "deep object": (content(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "header-corrupt"),
    "deep in an entry": (content(b'{"a":{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}"), "header-corrupt"),
}


#: Nonsense that MLX converts, cuts or lets overflow; it is refused here.
NONSENSE = {
    "three offsets": content({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 5]}}),
    "axis is a boolean": content({"a": entry("U8", (True,), 0, 1)}),
    "axis is a fraction": content({"a": entry(shape=(4.5,))}),
    "product overflows": content({"a": entry(shape=(1 << 31, 1 << 31, 1 << 31), end=0)}),
    "too many axes": content({"a": entry(shape=(1,) * 65, end=4)}),
    "too many axes for the usual form": content({"a": entry(shape=(1,) * 250, end=4)}),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_corrupt(name: str, tmp_path: Path) -> None:
    result = safetensors_header.read(written(tmp_path, NONSENSE[name]))
    assert (result.state, result.sound) == ("header-corrupt", False)


@pytest.mark.parametrize("name", SOUND)
def test_what_mlx_reads_is_ok(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, SOUND[name])
    assert mlx_reads(path)
    result = safetensors_header.read(path)
    assert (result.state, result.sound) == ("ok", True), result.detail
    theirs = {key: tuple(value.shape) for key, value in mx.load(str(path)).items()}
    assert {key: info.shape for key, info in result.tensors.items()} == theirs
    assert {info.dtype for info in result.tensors.values()} <= {"float32"}


@pytest.mark.parametrize("name", BROKEN)
def test_what_mlx_refuses_is_not_ok(name: str, tmp_path: Path) -> None:
    data, state = BROKEN[name]
    path = written(tmp_path, data)
    assert not mlx_reads(path)
    result = safetensors_header.read(path)
    assert (result.state, result.sound) == (state, False), result.detail
    assert result.detail
    assert result.size == len(data)


def test_what_mlx_tolerates_is_said_to_be_tolerated(tmp_path: Path) -> None:
    overlap = written(tmp_path, content({"a": entry(), "b": entry(start=8, end=24)}, 24))
    assert mlx_reads(overlap)
    result = safetensors_header.read(overlap)
    assert (result.state, result.tolerated, result.sound) == ("overlap", True, True)
    assert result.detail == "tensors 'a' and 'b' share bytes"

    text = (
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    )
    twice = written(tmp_path, content(text))
    assert mlx_reads(twice)
    result = safetensors_header.read(twice)
    assert (result.state, result.tolerated) == ("header-corrupt", True)
    assert result.detail == "tensor 'a' is given twice"


@pytest.mark.parametrize("dtype", SAFETENSORS_DTYPES)
def test_types_that_mlx_does_not_read(dtype: str, tmp_path: Path) -> None:
    bits = 4 if dtype == "F4" else 6 if dtype.startswith("F6_") else {"64": 64, "32": 32, "16": 16}.get(dtype[-2:], 8)
    path = written(tmp_path, content({"a": entry(dtype, (8,), 0, bits)}, bits))
    result = safetensors_header.read(path)
    assert result.state == ("ok" if mlx_reads(path) else "unsupported-dtype"), result.detail
    assert result.tensors["a"].shape == (8,)


def test_truncation_tells_how_much_is_there(tmp_path: Path) -> None:
    data = BROKEN["truncated"][0]
    result = safetensors_header.read(written(tmp_path, data))
    assert (result.size, result.expected_size) == (len(data), len(data) + 8)
    assert (
        result.detail
        == f"{len(data)} of {len(data) + 8} bytes are there; 1 of 2 tensors lie beyond the end, 'b' is one"
    )
    assert result.tensors["b"] == TensorInfo("float32", (4,))


def test_a_hole_of_many_gigabytes_is_read_from_its_header(tmp_path: Path) -> None:
    size = 1 << 40
    path = written(tmp_path, content({"a": entry("U8", (size,), 0, size)}, 0))
    head = path.stat().st_size
    os.truncate(path, head + size)
    assert safetensors_header.read(path).state == "ok"
    os.truncate(path, head + size - 1)
    assert safetensors_header.read(path).state == "truncated"


def test_pointer_tells_the_size_of_the_file_itself(tmp_path: Path) -> None:
    assert safetensors_header.read(written(tmp_path, BROKEN["LFS"][0])).expected_size == 1_234_567


def test_what_is_no_file(tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to("blobs/nowhere")
    result = safetensors_header.read(link)
    assert (result.state, result.detail) == ("dangling-link", "a link to blobs/nowhere, which is not there")
    circle = tmp_path / "circle.safetensors"
    circle.symlink_to(circle.name)
    assert safetensors_header.read(circle).state == "dangling-link"
    assert safetensors_header.read(tmp_path).state == "unreadable"
    assert safetensors_header.read(tmp_path / "absent").state == "unreadable"
    assert safetensors_header.read(tmp_path / "a\0b").state == "unreadable"
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    result = safetensors_header.read(pipe)
    assert (result.state, result.detail) == ("unreadable", "it is not a regular file")
    inside = written(tmp_path, SOUND["one tensor"])
    assert safetensors_header.read(inside / "below").state == "unreadable"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, SOUND["one tensor"])
    path.chmod(0)
    result = safetensors_header.read(path)
    assert (result.state, result.detail) == ("unreadable", "Permission denied")


@pytest.mark.parametrize("name", [*SOUND, *BROKEN])
def test_fetched_bytes_say_the_same_as_the_file(name: str, tmp_path: Path) -> None:
    data = SOUND.get(name) or BROKEN[name][0]
    size = safetensors_header.header_size(data)
    fetched = data if size is None else data[:size]
    assert safetensors_header.parse(fetched, len(data), "model.safetensors") == safetensors_header.read(
        written(tmp_path, data)
    )


def test_too_few_fetched_bytes_are_the_callers_mistake() -> None:
    data = SOUND["one tensor"]
    with pytest.raises(ValueError, match="the header takes 70 bytes, only 20 were given"):
        safetensors_header.parse(data[:20], len(data))


def bounded(data: bytes) -> WeightsFile:
    """Parse ``data`` and assert that it took memory in proportion to its length."""
    tracemalloc.start()
    try:
        result = safetensors_header.parse(data, len(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(data) + 200_000
    return result


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":' + b"[[]," * 100_000 + b"]}",
        b'{"__metadata__":{"a":[' + b"[]," * 100_000 + b"]}}",
        b'{"__metadata__":{' + b",".join(b'"%d":""' % i for i in range(50_000)) + b"}}",
        b'{"' + b"\\" * 300_000 + b'"',
        b'{"' + b'\\"' * 200_000 + b'"',
        b'{"a":{"x":' + b"1" * 300_000 + b"}}",
        b'{"a":{"x":' + b"9" * 5_000 + b',"dtype":"F32","shape":[],"data_offsets":[0,4]}}',
        b'{"a":{"shape":[' + b"0," * 30_000 + b'0],"dtype":"F32","data_offsets":[0,0]}}',
        b" " * 400_000,
        b'{"' + b"a" * 400_000 + b'":',
    ],
)
def test_hostile_headers_cost_no_more_than_their_length(text: bytes) -> None:
    assert bounded(content(text, 0)).state in {"header-corrupt", "ok"}


number = st.one_of(st.integers(-2, 40), st.sampled_from([1 << 31, 1 << 63, 1 << 64, 10**30]))
json_value = st.recursive(
    st.one_of(st.none(), st.booleans(), number, st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
tensor = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "F4", "x", ""]) | json_value,
        "shape": st.lists(number, max_size=3) | json_value,
        "data_offsets": st.lists(number, min_size=2, max_size=2) | json_value,
    }
)
headers = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.text(max_size=4) | st.just("__metadata__"), tensor | json_value, max_size=4).map(
        lambda header: json.dumps(header).encode("utf-8", "surrogatepass")
    ),
)
files = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda text, body: content(text, body), headers, st.integers(0, 40)),
    st.builds(lambda text, length: content(text, 0, length), headers, st.integers(0, (1 << 64) - 1)),
)

STATES = {
    "ok",
    "empty",
    "truncated",
    "header-corrupt",
    "header-too-large",
    "overlap",
    "unsupported-dtype",
    "lfs-pointer",
}


@given(files)
def test_no_bytes_raise_or_allocate_much(data: bytes) -> None:
    assert bounded(data).state in STATES


@st.composite
def sound_headers(draw: st.DrawFn) -> tuple[bytes, dict[str, tuple[int, ...]]]:
    shapes = draw(
        st.dictionaries(
            st.text(min_size=1).filter(lambda name: name != "__metadata__"),
            st.lists(st.integers(0, 5), max_size=3).map(tuple),
            max_size=5,
        )
    )
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for axis in shape:
            size *= axis
        header[name] = entry("BF16", shape, end, end + size)
        end += size
    ascii_only = draw(st.booleans())
    try:
        text = json.dumps(header, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return content({}, 0), {}
    return content(text, end), shapes


@given(sound_headers())
def test_every_sound_header_is_read(made: tuple[bytes, dict[str, tuple[int, ...]]]) -> None:
    data, shapes = made
    result = safetensors_header.parse(data, len(data))
    assert result.state == "ok", result.detail
    assert {name: info.shape for name, info in result.tensors.items()} == shapes
