"""Reproductions: what comes from a model is data in them, whatever it looks like; they write what they hold."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from mlx_diagnose.engine import model_files
from mlx_diagnose.engine.model_files import ModelFile
from mlx_diagnose.engine.reproduction import Case, script
from mlx_diagnose.engine.specimen import Tensor, write_safetensors

HOSTILE = "'\"\"\"'''\\\n#\r\u2028{x}%s\x00\x1b[31m\u202e\");import os;os.abort()#\ud800"
TEXTS = st.one_of(st.text(), st.just(HOSTILE), st.text(alphabet="'\"\\\n{}#;()%"))
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def case(**fields: Any) -> Case:
    return Case(**{"name": "m", "config": b"{}", "module": "a.b", "function": "load", "story": ["it fails"], **fields})


def shape(source: str) -> list[str]:
    """The structure of a program without its literals."""
    return [
        type(node).__name__
        for node in ast.walk(ast.parse(source))
        if not isinstance(node, (ast.Constant, ast.BinOp, ast.Add))
    ]


def run(source: str, function: str, *arguments: object) -> dict[str, Any]:
    """Run the program, without its main, and a function of it."""
    names: dict[str, Any] = {"__name__": "reproduction"}
    exec(compile(source, "reproduction", "exec"), names)
    names[function](*arguments)
    return names


@given(st.dictionaries(TEXTS, VALUES, max_size=4), TEXTS, TEXTS)
@example({HOSTILE: HOSTILE}, HOSTILE, HOSTILE)
def test_nothing_of_a_model_becomes_code(config: dict[str, Any], name: str, message: str) -> None:
    text = json.dumps(config, indent=2).encode()
    source = script(case(config=text, name=name, story=[message, message]))
    assert source.isascii()
    assert shape(source) == shape(script(case()))
    names: dict[str, Any] = {"__name__": "reproduction"}
    exec(compile(source, "reproduction", "exec"), names)
    assert (names["CONFIG"], names["NAME"]) == (text, name)


@given(st.binary(max_size=300), st.binary(max_size=300), TEXTS, TEXTS)
def test_files_and_their_names_are_data(config: bytes, content: bytes, name: str, module: str) -> None:
    files = [ModelFile(name, len(content), "content", content)]
    source = script(case(config=config, files=files, module=module, function=module))
    names: dict[str, Any] = {"__name__": "reproduction"}
    exec(compile(source, "reproduction", "exec"), names)
    assert (names["CONFIG"], names["FILES"]) == (config, {name: (content, None)})


@given(st.dictionaries(TEXTS, st.tuples(st.sampled_from(["F32", "BF16", "U8"]), st.lists(st.integers(0, 3)))))
def test_names_of_tensors_are_data(tensors: dict[str, tuple[str, list[int]]]) -> None:
    table: dict[str, Tensor] = {name: (dtype, tuple(axes)) for name, (dtype, axes) in tensors.items()}
    source = script(case(files=[ModelFile("w.safetensors", 0, "tensors", tensors=table)]))
    names: dict[str, Any] = {"__name__": "reproduction"}
    exec(compile(source, "reproduction", "exec"), names)
    assert names["TENSORS"] == {"w.safetensors": (0, False, table)}


def test_the_directory_is_made_as_it_was(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "voices").mkdir(parents=True)
    (model / "config.json").write_text('{"a": 1}')
    (model / "tokenizer.json").write_text('{\n "x": "y"\n}\n')
    (model / "voices" / "one.dat").write_bytes(bytes(range(256)))
    (model / "large.dat").write_bytes(b"head" + bytes(300_000))
    (model / "code.py").write_text("raise SystemExit")
    tensors: dict[str, Tensor] = {f"layers.{n}.w": ("F32", (2, 3)) for n in range(4)}
    tensors["odd{0..1}"] = ("BF16", (5,))
    write_safetensors(model / "a.safetensors", tensors)
    write_safetensors(model / "b.safetensors", {f"layers.{n}.w": ("F32", (2, 3)) for n in range(4)})
    with (model / "b.safetensors").open("r+b") as file:
        file.truncate((model / "b.safetensors").stat().st_size - 30)
    names = [entry.name for entry in model.iterdir() if entry.name != "config.json"]
    files = {file.name: file for file in model_files.read(model, names)}
    assert files["code.py"].how == "refused"
    assert not files["a.safetensors"].collapsed  # one of its names looks like a range
    assert list(files["b.safetensors"].tensors) == ["layers.{0..3}.w"]
    assert files["b.safetensors"].size == -30

    copy = tmp_path / "copy"
    run(script(case(config=(model / "config.json").read_bytes(), files=list(files.values()))), "make", str(copy))
    for name in ("config.json", "tokenizer.json", "voices/one.dat", "large.dat"):
        assert (copy / name).read_bytes() == (model / name).read_bytes(), name
    made = {file.name: file for file in model_files.read(copy, ["a.safetensors", "b.safetensors"])}
    assert made == {name: files[name] for name in made}
    assert not (copy / "code.py").exists()


def test_a_script_that_is_run_loads_with_the_function_it_names(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "stand_in.py").write_text(
        "import os\nseen = []\ndef load(model, lazy=False):\n    seen.append((os.path.basename(model), lazy))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    run(script(case(module="stand_in", name="a model", environment={"HF_HUB_OFFLINE": "1"})), "main")
    assert os.environ.pop("HF_HUB_OFFLINE") == "1"
    import stand_in  # type: ignore[import-not-found]

    assert stand_in.seen == [("a model", True)]
