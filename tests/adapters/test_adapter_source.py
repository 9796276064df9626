"""Generated adapters: readable, formatted, and no name in a model can become code in them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_diagnose.adapters import shims
from mlx_diagnose.adapters.adapter import Adapter
from mlx_diagnose.adapters.adapter_source import adapter_source, module_name
from mlx_diagnose.adapters.config_patch import apply_patch
from mlx_diagnose.adapters.config_statements import statements
from mlx_diagnose.adapters.name_template import escaped
from mlx_diagnose.adapters.python_literals import literal
from mlx_diagnose.adapters.snippets import config as config_functions
from mlx_diagnose.adapters.tensor_stream import stream
from mlx_diagnose.adapters.tensor_views import form
from mlx_diagnose.adapters.weight_calls import carried_out
from mlx_diagnose.adapters.weight_map import plan
from tests.specimens import make_specimen

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {"model_type": "x", "n_layers": 2, "rates": [8, 5], "deep": {"a": {"b": 1}}}
PATCH = (
    {"op": "move", "from": "/n_layers", "path": "/num_hidden_layers"},
    {"op": "replace", "path": "/rates/0", "value": 9},
    {"op": "add", "path": "/rates/-", "value": 4},
    {"op": "remove", "path": "/deep/a/b"},
    {"op": "add", "path": "/vocoder/upsampling/kernels", "value": [[3, 7, 11], {"a": None, "long": "x" * 90}]},
    {"op": "copy", "from": "/rates", "path": "/deep/rates"},
    {"op": "add", "path": f"/{'long' * 30}", "value": True},
)
OPERATIONS = (
    {"op": "rename", "from": "module.{rest}", "to": "{rest}"},
    {"op": "drop", "name": "left_over"},
    {"op": "transpose", "name": "h.{i:0..1}.conv.weight", "axes": [0, 2, 1]},
    {"op": "cast", "name": "h.{i}.gamma", "dtype": "float16"},
    {"op": "split", "from": "h.{i}.qkv", "axis": 0, "to": ["h.{i}.q", "h.{i}.k"], "sizes": [2, 4]},
    {"op": "join", "from": ["h.{i}.q", "h.{i}.k"], "axis": 0, "to": "h.{i}.k"},
    {"op": "stack", "from": "e.{n}.w", "over": "n", "axis": 1, "to": "e.w"},
    {"op": "add", "name": "ids", "how": "arange", "shape": [1, 3], "dtype": "int32", "value": 2},
    {"op": "add", "name": "freqs", "how": "inverse-frequencies", "shape": [4], "dtype": "float32", "value": 10000},
)
FULL = Adapter("full", "all there is", config_patch=PATCH, weight_map=OPERATIONS, verified={"mlx-audio": "0.6.2"})


def formatted(text: str) -> str:
    """What ruff would make of it, with its own defaults."""
    words = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    return subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "adapter",
    [
        FULL,
        Adapter("bare"),
        Adapter("shims", shims=shims.names()),
        Adapter("e", environment={"HF_HUB_CACHE": 'a"\n', "A": "b"}),
        Adapter("c", config_patch=PATCH),
    ],
    ids=lambda a: a.name,
)
def test_it_is_formatted_and_without_faults(adapter: Adapter, tmp_path: Path) -> None:
    text = adapter_source(adapter, "org/Some-Model", CONFIG)
    assert formatted(text) == text
    (tmp_path / "adapter.py").write_text(text)
    words = [sys.executable, "-m", "ruff", "check", "--isolated", "--ignore", "E501", str(tmp_path / "adapter.py")]
    checked = subprocess.run(words, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "mlx_diagnose" not in text


def run_edits(config: dict[str, Any], patch: Any) -> Any:
    space: dict[str, Any] = {"config": json.loads(json.dumps(config)), **vars(config_functions)}
    body = "\n".join(statements(config, patch))
    exec("if True:\n" + (body or "    pass"), space)
    return space["config"]


def test_edits_of_the_config_do_what_the_patch_says() -> None:
    assert run_edits(CONFIG, PATCH) == apply_patch(CONFIG, PATCH)


NASTY = st.text(max_size=30) | st.sampled_from(
    [
        '"""',
        "'''",
        "\\",
        "\n",
        "\r\n",
        "\u2028",
        "\x00",
        "';import os;'",
        '"+exit()+"',
        "{x}",
        "{{",
        "# type: ignore",
        "\ud800",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NASTY, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_literals_mean_their_values(value: Any) -> None:
    source = literal(value)
    space = eval(source, {"__builtins__": {"float": float}})
    assert repr(space) == repr(value)


@settings(deadline=None)
@given(key=NASTY, to=NASTY, value=VALUES)
def test_no_key_breaks_out_of_the_edits(key: str, to: str, value: Any) -> None:
    config = {key: {to: value}, "list": [value]}
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in (key, to)]
    patch = [
        {"op": "add", "path": pointers[0] + pointers[1] + "x", "value": value},
        {"op": "move", "from": pointers[0], "path": pointers[1] + "y"},
        {"op": "add", "path": "/list/0", "value": to},
        {"op": "remove", "path": "/list/0"},
    ]
    assert repr(run_edits({"list": [1], key: {to: 1}}, patch)) == repr(apply_patch({"list": [1], key: {to: 1}}, patch))
    assert config


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(model=NASTY, key=NASTY, tensor=NASTY.filter(bool), to=NASTY.filter(bool))
def test_no_name_breaks_out_of_the_file(model: str, key: str, tensor: str, to: str) -> None:
    patch = ({"op": "add", "path": "/" + key.replace("~", "~0").replace("/", "~1"), "value": key},)
    operations = ({"op": "rename", "from": escaped(tensor)[:4000], "to": escaped(to)[:4000]},)
    text = adapter_source(Adapter(key, title=key, config_patch=patch, weight_map=operations), model, {})
    text.encode("utf-8")
    tree = ast.parse(text)
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.If)
    assert all(isinstance(node, allowed) for node in tree.body)
    # The same file as for harmless names, but for literals.
    harmless = adapter_source(
        Adapter(
            "k",
            title="k",
            config_patch=({"op": "add", "path": "/k", "value": "k"},),
            weight_map=({"op": "rename", "from": "a", "to": "b"},),
        ),
        "m",
        {},
    )
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    wanted = [node.name for node in ast.parse(harmless).body if isinstance(node, ast.FunctionDef)]
    assert [name for name in functions if name not in ("put", "take")] == wanted
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert named <= {node.id for node in ast.walk(ast.parse(harmless)) if isinstance(node, ast.Name)} | {
        "put",
        "take",
        "len",
        "isinstance",
        "list",
        "path",
        "part",
        "value",
    }


@pytest.mark.parametrize("name", ["Kokoro-82M-bf16", "a.b c/ü", "", '"; import os'])
def test_module_names_are_names(name: str) -> None:
    assert module_name(name).isidentifier()


def test_the_calls_do_what_the_plan_says(tmp_path: Path) -> None:
    """The run-time functions and the rewriter carry the same operations out alike."""
    mx = pytest.importorskip("mlx.core")
    import numpy as np

    arrays = {
        "module.left_over": np.ones(2, np.float32),
        **{f"module.h.{n}.conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) + n for n in range(3)},
        **{f"module.h.{n}.gamma": np.arange(3, dtype=np.float32) / (n + 1) for n in range(3)},
        **{f"module.h.{n}.qkv": np.arange(12, dtype=np.float32).reshape(6, 2) * (n + 1) for n in range(3)},
        **{f"module.e.{n}.w": np.full((2, 2), n, np.float32) for n in range(11)},
    }
    table = {name: ("float32", array.shape) for name, array in arrays.items()}
    found = carried_out(OPERATIONS, {name: mx.array(array) for name, array in arrays.items()})
    recipes = plan(OPERATIONS, table)
    assert set(found) == set(recipes)
    file = tmp_path / "values"
    places, data = {}, b""
    for name, array in arrays.items():
        places[name] = len(data)
        data += array.tobytes()
    file.write_bytes(data)
    descriptor = os.open(file, os.O_RDONLY)
    for name, recipe in recipes.items():
        expected = b"".join(stream(form(recipe), lambda stored: (descriptor, places[stored])))
        array = np.array(found[name])
        assert array.shape == recipe.shape
        if name == "freqs":
            assert np.allclose(array, np.frombuffer(expected, np.float32), rtol=1e-5)
        else:
            assert array.tobytes() == expected, name
    os.close(descriptor)


def test_it_loads_the_broken_model_with_the_parameters_of_the_whole_one(tmp_path: Path) -> None:
    whole = make_specimen("kokoro", tmp_path / "whole")
    from tests.adapters import stored

    path = tmp_path / "broken" / whole.path.name
    path.mkdir(parents=True)
    for entry in whole.path.iterdir():
        (path / entry.name).symlink_to(entry)
    weights = next(path.glob("*.safetensors"))
    arrays = stored.read(weights)
    conv = next(name for name, array in arrays.items() if array.ndim == 3 and len(set(array.shape)) == 3)
    weights.unlink()
    spoilt = {f"module.{name}": array.transpose(2, 0, 1) if name == conv else array for name, array in arrays.items()}
    stored.write(path / "model-1.safetensors", dict(list(spoilt.items())[::2]))
    stored.write(path / "model-2.safetensors", dict(list(spoilt.items())[1::2]))
    config = dict(whole.config)
    config["n_tokens"] = config.pop("n_token")
    (path / "config.json").unlink()
    (path / "config.json").write_text(json.dumps(config))
    adapter = Adapter(
        "kokoro",
        config_patch=({"op": "move", "from": "/n_tokens", "path": "/n_token"},),
        weight_map=(
            {"op": "rename", "from": "module.{rest}", "to": "{rest}"},
            {"op": "transpose", "name": escaped(conv), "axes": [1, 2, 0]},
        ),
    )
    file = tmp_path / f"{module_name(path.name)}.py"
    file.write_text(adapter_source(adapter, str(path), config))
    environment = {**os.environ, **whole.environment}

    def loaded(*words: str) -> Any:
        command = [sys.executable, str(ROOT / "tests" / "loaded_parameters.py"), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outcome = json.loads(done.stdout)
        assert outcome["error"] is None
        return outcome["parameters"]

    assert loaded("--adapter", str(file), str(path)) == loaded(str(whole.path))
