"""The reader of npz headers: what MLX reads, what it refuses, and archives made to harm."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors import npz_header
from mlx_diagnose.collectors.tensors import TensorInfo

mx = pytest.importorskip("mlx.core")
np = pytest.importorskip("numpy")


def mlx_reads(path: Path) -> bool:
    try:
        mx.eval(list(mx.load(str(path)).values()))
    except Exception:
        return False
    return True


def npy(header: str, body: int = 0, length: int | None = None, version: int = 1) -> bytes:
    text = header.encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + bytes(body)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(f"{name}.npy", data)
    return path


PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


DTYPES = "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16 V2 V4 U2 S3 M8[s] >f4".split()  # noqa: SIM905


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_are_those_that_mlx_reads(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, **{"layers.0.weight": np.zeros((2, 3), dtype)})
    result = npz_header.read(path)
    if mlx_reads(path):
        ours = {name: (info.dtype, info.shape) for name, info in result.tensors.items()}
        theirs = {name: (str(a.dtype).removeprefix("mlx.core."), a.shape) for name, a in mx.load(str(path)).items()}
        assert ours == theirs
        assert result.state == "ok"
    else:
        assert result.state == "unsupported-dtype"


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "exploded"), "w")

    path = tmp_path / "weights.npz"
    np.savez(path, bomb=np.array([Bomb()], object), sound=np.zeros(2, "f4"))
    result = npz_header.read(path)
    assert (result.state, result.detail) == (
        "unsupported-dtype",
        "bomb.npy holds pickled Python objects, which MLX does not read",
    )
    assert result.tensors == {"sound": TensorInfo("float32", (2,))}
    assert not (tmp_path / "exploded").exists()


def test_compressed_scalar_and_mlx_written(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, a=np.float32(1), b=np.zeros((3,), "f2", order="F"))
    assert npz_header.read(path).tensors == {"a": TensorInfo("float32", ()), "b": TensorInfo("float16", (3,))}
    mx.savez(str(path), a=mx.zeros((2, 3), mx.bfloat16))
    assert npz_header.read(path).tensors == {"a": TensorInfo("bfloat16", (2, 3))}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_versions_of_the_array_header(version: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", a=npy(PLAIN, 24, version=version))
    assert npz_header.read(path).tensors == {"a": TensorInfo("float32", (2, 3))}


BROKEN = {
    "cut off": (lambda data: data[: len(data) // 2], "truncated"),
    "empty": (lambda data: b"", "empty"),
    "junk": (lambda data: b"junk that is no archive", "header-corrupt"),
    "directory damaged": (lambda data: data.replace(b"PK\x01\x02", b"PK\x09\x09"), "header-corrupt"),
    "encrypted": (
        lambda data: data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
        "header-corrupt",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_archives(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", a=npy(PLAIN, 24))
    harm, state = BROKEN[name]
    damaged = harm(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    assert not mlx_reads(path)
    result = npz_header.read(path)
    assert result.state == state, result.detail
    assert result.detail


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (npy(PLAIN, 23), "truncated"),
        (npy(PLAIN, 24, length=5_000), "header-corrupt"),
        (npy(PLAIN, 24, length=1 << 31, version=2), "header-corrupt"),
        (b"no array", "header-corrupt"),
        (b"", "header-corrupt"),
        (npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (2, 3), }"), "header-corrupt"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3), }", 24), "header-corrupt"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 10_000 + ")" * 10_000 + ", }"),
            "header-corrupt",
        ),
        (npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8), "unsupported-dtype"),
    ],
)
def test_broken_arrays_do_not_hide_the_others(data: bytes, state: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", a=data, b=npy(PLAIN, 24))
    result = npz_header.read(path)
    assert result.state == state, result.detail
    assert result.tensors == {"b": TensorInfo("float32", (2, 3))}


def test_a_directory_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", a=npy(PLAIN, 24))
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    path.write_bytes(data[: end + 12] + struct.pack("<I", 1 << 30) + data[end + 16 :])
    assert npz_header.read(path).state == "header-too-large"


def test_an_inflating_member_is_not_inflated(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }", 50_000_000))
    tracemalloc.start()
    try:
        result = npz_header.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.tensors == {"a": TensorInfo("uint8", (50_000_000,))}
    assert peak < 2_000_000


def _archive_bytes(header: str, body: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("a.npy", npy(header, body))
    return target.getvalue()


WHOLE = _archive_bytes(PLAIN, 24)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(WHOLE)))
def test_no_damage_raises(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(WHOLE)
    for position, value in changes:
        data[position] = value
    result = npz_header.parse(io.BytesIO(bytes(data[:cut])), cut)
    assert result.state in {"ok", "truncated", "header-corrupt", "header-too-large", "unsupported-dtype"}
