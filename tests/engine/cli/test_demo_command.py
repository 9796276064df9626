from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mlx_diagnose.engine.report.json import schema

Command = Callable[..., Any]


@pytest.mark.skipif(find_spec("mlx_audio") is None, reason="needs a patient: mlx-audio is not installed here")
def test_the_demo_is_diagnosed_from_end_to_end(command: Command, tmp_path: Path) -> None:
    ran = command("demo", "--json", str(tmp_path / "specimen"))
    assert ran.code == 1
    document = json.loads(ran.out)
    Draft202012Validator(schema()).validate(document)
    assert document["verdict"] == "fails"
    assert "config.json was spoilt" in " ".join(ran.err.split())
    roots = [found for found in document["findings"] if found["root"]]
    assert {found["failure_class"] for found in roots} >= {"config/renamed-key", "config/value-mismatch"}

    why = command("why", "last", "f1")
    assert why.code == 0
    assert "config.json:" in why.out

    again = command("demo", str(tmp_path / "specimen"))
    assert (again.code, again.out) == (2, "")
    assert "File exists" in again.err
