"""config.json in every state that users have it in: real files, read as they lie there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_diagnose.collectors.config import MAX_BYTES, ConfigDocument, collect, parse_config, read_config, value_at
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Fact


def _collect(directory: Path) -> tuple[ConfigDocument, WorkingMemory, Fact]:
    memory = WorkingMemory()
    document = collect(memory, directory)
    (fact,) = memory.of("config_file")
    assert fact["state"] == document.state
    return document, memory, fact


def _write(directory: Path, content: str | bytes | dict[str, Any]) -> Path:
    raw = json.dumps(content, indent=2) if isinstance(content, dict) else content
    (directory / "config.json").write_bytes(raw.encode("utf-8") if isinstance(raw, str) else raw)
    return directory


def test_keys_have_paths_types_values_and_lines(tmp_path: Path) -> None:
    config = {"model_type": "dia", "decoder": {"rates": [8, 5], "scale": 1e-05, "bias": None}, "norm": True}
    document, memory, fact = _collect(_write(tmp_path, config))
    assert document.data == config
    assert fact["line"] is None and fact["message"] is None
    keys = {key["path"]: key for key in memory.of("config_key")}
    assert {path: (key["type"], key["value"], key["line"]) for path, key in keys.items()} == {
        "model_type": ("string", "dia", 2),
        "decoder": ("object", None, 3),
        "norm": ("boolean", "true", 11),
        "decoder.rates": ("array", None, 4),
        "decoder.scale": ("number", "1e-05", 8),
        "decoder.bias": ("null", "null", 9),
        "decoder.rates.0": ("number", "8", 5),
        "decoder.rates.1": ("number", "5", 6),
    }
    assert keys["decoder.rates.0"]["parent"] == "decoder.rates"
    assert keys["norm"]["parent"] == ""
    assert keys["decoder.scale"].provenance.path == "decoder.scale"


@pytest.mark.parametrize(
    ("content", "state", "line", "said"),
    [
        (b"", "empty", None, "no content"),
        (b" \n\t", "empty", None, "no content"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "lfs-pointer", None, None),
        (b'{"a": "\xff"}', "not-utf8", 1, "0xff"),
        ('{"a": 1}'.encode("utf-16"), "not-utf8", 1, "0xff"),
        (b'\xef\xbb\xbf{"a": 1}', "invalid-json", 1, "byte order mark"),
        ('{\n  "a": 1,\n}', "invalid-json", None, "comma before the closing }"),
        ('{"a": [1,2,]}', "invalid-json", 1, "comma before the closing ]"),
        ('{\n  // rate\n  "a": 1}', "invalid-json", 2, "comment"),
        ("{'a': 1}", "invalid-json", 1, "single quotes"),
        ("{“a”: 1}", "invalid-json", 1, "typographic"),
        ('{"a": True}', "invalid-json", 1, "write true"),
        ('{"a": 1\n "b": 2}', "invalid-json", 2, "comma is missing"),
        ('{"a": {"b": 1}', "invalid-json", 1, "cut off"),
        ('{\n<<<<<<< HEAD\n"a": 1}', "invalid-json", 2, "merge conflict"),
        ("<!DOCTYPE html><html></html>", "invalid-json", 1, "HTML"),
        ('{"a": ' + "9" * 5000 + "}", "invalid-json", None, "4300"),
        ("[1, 2]", "not-an-object", 1, "array"),
        ('"text"', "not-an-object", 1, "string"),
        ("null", "not-an-object", 1, "null"),
        ("[" * 100_000, "too-deep", None, "deeper"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "too-deep", None, "deeper"),
    ],
)
def test_what_the_loader_refuses_has_a_state_and_a_reason(
    tmp_path: Path, content: str | bytes, state: str, line: int | None, said: str | None
) -> None:
    document, memory, fact = _collect(_write(tmp_path, content))
    assert fact["state"] == state
    assert document.data is None
    if line is not None:
        assert fact["line"] == line
    if said is not None:
        assert said in str(fact["message"])
    assert not memory.of("config_key")
    assert not memory.of("quantization_block")


def test_what_only_python_takes_is_ok_and_noted(tmp_path: Path) -> None:
    document, memory, fact = _collect(_write(tmp_path, '{"eps": NaN, "a": 1,\n "a": 2, "inner": {"b": 1, "b": 1}}'))
    assert document.data is not None and document.data["a"] == 2
    assert "NaN" in str(fact["message"])
    assert fact["duplicate_keys"] == "a, inner.b"
    (key,) = memory.of("config_key", path="a")
    assert (key["value"], key["line"]) == ("2", 2)


def test_absent_directory_and_absent_file(tmp_path: Path) -> None:
    assert _collect(tmp_path)[0].state == "absent"
    assert _collect(tmp_path / "nowhere")[0].state == "absent"
    memory = WorkingMemory()
    assert collect(memory, None).state == "absent"


def test_what_is_not_a_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "directory" / "config.json").mkdir(parents=True)
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "config.json").symlink_to("../../blobs/abc")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "config.json").symlink_to("config.json")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "config.json")
    said = {name: read_config(tmp_path / name) for name in ("directory", "dangling", "loop", "pipe")}
    assert {document.state for document in said.values()} == {"unreadable"}
    assert "a directory" in str(said["directory"].message)
    assert "../../blobs/abc" in str(said["dangling"].message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_forbidden_file_is_unreadable(tmp_path: Path) -> None:
    _write(tmp_path, {})
    (tmp_path / "config.json").chmod(0)
    assert read_config(tmp_path).state == "unreadable"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "config.json", "wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    document = read_config(tmp_path)
    assert document.state == "unreadable"
    assert "MiB" in str(document.message)


@pytest.mark.parametrize(
    ("other", "content"),
    [("Config.json", "{}"), ("params.json", "{}"), ("config.yaml", ""), ("checkpoint/config.json", "{}")],
)
def test_another_file_that_could_be_the_config_is_named(tmp_path: Path, other: str, content: str) -> None:
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_text(content)
    fact = _collect(tmp_path)[2]
    assert fact["alternative"] == other


def test_big_containers_are_not_expanded_and_facts_are_bounded(tmp_path: Path) -> None:
    config = {
        "vocab": {chr(0x4E00 + i): i for i in range(1000)},
        "steps": list(range(1000)),
        **{f"s{i}": {f"k{j}": j for j in range(150)} for i in range(60)},
        "last": 1,
    }
    _, memory, _ = _collect(_write(tmp_path, config))
    keys = memory.of("config_key")
    assert len(keys) == 5_000
    assert memory.of("config_key", path="last")
    assert not memory.of("config_key", parent="vocab")
    assert not memory.of("config_key", parent="steps")


def test_deep_nesting_that_the_parser_takes_stays_bounded(tmp_path: Path) -> None:
    document, memory, _ = _collect(_write(tmp_path, '{"a":' * 500 + "1" + "}" * 500))
    assert document.state == "ok"
    assert 10 < len(memory.of("config_key")) < 100
    assert document.excerpt("a.a") is not None


def test_texts_that_no_terminal_should_meet_are_written_out(tmp_path: Path) -> None:
    _, memory, _ = _collect(_write(tmp_path, r'{"a": "\u001b[31mred\u0000", "\ud800": "\udfff"}'))
    values = {key["path"]: key["value"] for key in memory.of("config_key")}
    assert values == {"a": "\\u001b[31mred\\u0000", "\\ud800": "\\udfff"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {"present": False, "key": None, "bits": None, "is_object": False}),
        ({"quantization": None}, {"present": False, "key": None}),
        (
            {"quantization": {"bits": 4, "group_size": 64, "mode": "affine", "lm_head": {"bits": 8}, "x": False}},
            {"present": True, "key": "quantization", "bits": 4, "group_size": 64, "mode": "affine", "per_layer": 2},
        ),
        (
            {"quantization": None, "quantization_config": {"quant_method": "bitsandbytes"}},
            {"present": True, "key": "quantization_config", "method": "bitsandbytes", "bits": None},
        ),
        ({"quantization": {"bits": "4"}}, {"present": True, "bits": None, "is_object": True}),
        ({"quantization": True}, {"present": True, "is_object": False}),
    ],
)
def test_the_quantization_block(tmp_path: Path, config: dict[str, Any], expected: dict[str, Any]) -> None:
    _, memory, _ = _collect(_write(tmp_path, config))
    (block,) = memory.of("quantization_block")
    assert {name: block[name] for name in expected} == expected


def test_excerpt_shows_the_line_with_a_caret(tmp_path: Path) -> None:
    document = read_config(_write(tmp_path, '{\n\t"a": 1,\n  "名": {"hidden": 512}\n}'))
    assert document.excerpt("名.hidden") == (
        'config.json:3:9\n2 |     "a": 1,\n3 |   "名": {"hidden": 512}\n  |         ^\n4 | }'.replace(
            "        ^", "         ^"
        )
    )
    assert document.excerpt(2) == 'config.json:2:2\n1 | {\n2 |     "a": 1,\n  |     ^\n3 |   "名": {"hidden": 512}'
    assert document.excerpt("absent") is None
    assert document.excerpt(99) is None
    assert document.excerpt() is None


def test_excerpt_of_a_syntax_error_and_of_one_long_line(tmp_path: Path) -> None:
    broken = read_config(_write(tmp_path, '{"a": 1,\n "b": tru}'))
    assert broken.excerpt() == 'config.json:2:7\n1 | {"a": 1,\n2 |  "b": tru}\n  |       ^'
    long = read_config(_write(tmp_path, json.dumps({f"key{i}": i for i in range(500)})))
    shown = str(long.excerpt("key300")).splitlines()
    assert max(map(len, shown)) < 120
    assert shown[1][shown[2].index("^") :].startswith('"key300": 300')


def test_values_are_found_by_path() -> None:
    data = {"a": {"b": [{"c": 1}]}, "x.y": {"z": 2}}
    assert value_at(data, "a.b.0.c") == 1
    assert value_at(data, "x.y.z") == 2
    assert value_at(data, "a.b.7", "no") == "no"
    assert value_at(data, "") is data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]",:\\\n\r\t 0aNtu/#\ud800', max_size=60).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
)
def test_no_bytes_make_the_collector_raise(raw: bytes) -> None:
    document = parse_config(Path("model"), raw)
    assert (document.data is not None) == (document.state == "ok")
    document.excerpt()
    document.excerpt(1)
    for path in document.positions.places if document.data is not None else ():
        assert document.line_of(path)
