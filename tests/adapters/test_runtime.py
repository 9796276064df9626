"""``from mlx_diagnose.adapters import load``: real models, with the adapters that are for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.adapters import Adapter, AdapterError, load
from tests.specimens import make_specimen

ROOT = Path(__file__).parents[2]

#: Loads a model four ways in one process, with what is registered, named, in a file, and without any.
PROGRAM = """
import json, os, sys
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.path.insert(0, sys.argv[3])
from mlx_diagnose.adapters import Adapter, AdapterError, load, register
from tests.loaded_parameters import parameters
import mlx.core as mx
broken, whole = sys.argv[1:3]
wanted = parameters(load(whole, lazy=True))
told = {}
try:
    load(broken, lazy=True)
except Exception as error:
    told["without"] = type(error).__name__
adapter = Adapter(
    "mine",
    models=("Soprano-80M*",),
    config_patch=({"op": "move", "from": "/n_layers", "path": "/num_hidden_layers"},),
    weight_map=({"op": "rename", "from": "module.{rest}", "to": "{rest}"},),
)
told["object"] = parameters(load(broken, adapter, lazy=True)) == wanted
register(adapter)
told["name"] = parameters(load(broken, ["mine"], lazy=True)) == wanted
told["found"] = parameters(load(broken, lazy=True)) == wanted
try:
    load(whole, adapter, lazy=True)
except AdapterError as error:
    told["another model"] = str(error)
told["restored"] = mx.load.__module__.split(".")[0]
report.write(json.dumps(told))
"""


def test_a_broken_model_is_loaded_with_its_adapter(tmp_path: Path) -> None:
    from tests.adapters import stored

    whole = make_specimen("soprano", tmp_path / "whole")
    path = tmp_path / "broken" / whole.path.name
    path.mkdir(parents=True)
    for entry in whole.path.iterdir():
        (path / entry.name).symlink_to(entry)
    config = dict(whole.config)
    config["n_layers"] = config.pop("num_hidden_layers")
    (path / "config.json").unlink()
    (path / "config.json").write_text(json.dumps(config))
    weights = next(path.glob("*.safetensors"))
    arrays = stored.read(weights)
    weights.unlink()
    stored.write(weights, {f"module.{name}": array for name, array in arrays.items()})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(whole.path), str(ROOT)],
        env={**os.environ, **whole.environment, "XDG_CONFIG_HOME": str(tmp_path / "none")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("another model").startswith("mine does not fit the config")
    assert told == {"without": "TypeError", "object": True, "name": True, "found": True, "restored": "mlx"}


def test_an_adapter_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AdapterError, match="there is no adapter 'absent'"):
        load(tmp_path, "absent")
    assert Adapter("a").name == "a"
