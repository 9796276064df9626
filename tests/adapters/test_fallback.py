"""``load_first``: real models, of which the first is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.adapters import NothingLoads, load_first
from tests.specimens import make_specimen

PROGRAM = """
import json, os, sys
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from mlx_diagnose.adapters import load_first
found = load_first(sys.argv[1:], lazy=True)
json.dump([found.source, found.degraded, [type(error).__name__ for _, error in found.failed],
           type(found.model).__module__], report)
"""


def test_the_first_model_that_loads_is_taken_and_the_failure_before_it_kept(tmp_path: Path) -> None:
    broken, whole = (make_specimen("soprano", tmp_path / name).path for name in ("broken", "whole"))
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    config["n_layers"] = config.pop("num_hidden_layers")
    (broken / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(broken), str(whole), str(tmp_path / "never-looked-at")],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    source, degraded, errors, module = json.loads(done.stdout)
    assert (source, degraded, errors) == (str(whole), True, ["TypeError"])
    assert module.startswith("mlx_audio.tts.models.soprano")


def test_where_none_loads_every_failure_is_told(tmp_path: Path) -> None:
    missing = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(NothingLoads, match="none of the models loads") as raised:
        load_first(missing)
    assert [source for source, _ in raised.value.failed] == [str(path) for path in missing]
    with pytest.raises(NothingLoads, match="no model was named"):
        load_first([])
