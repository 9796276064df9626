"""Values of another type than the annotation, or else the known-good configuration, has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.config import parse_config
from mlx_diagnose.collectors.config_types import collect, silent
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.knowledge_base.configurations import known_good_configurations

_USUAL = {"tie": True, "layers": 8, "eps": 1e-5, "resblock": "1", "inner": {"bias": False}}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"tie": "false"}, {"tie": ("bool", "string", "false")}),
        ({"inner": {"bias": " True "}}, {"inner.bias": ("bool", "string", "true")}),
        ({"layers": True, "eps": False}, {"layers": ("int", "boolean", None), "eps": ("float", "boolean", None)}),
        ({"tie": False, "layers": 9, "eps": 1, "resblock": "2"}, {}),
        ({"tie": "auto", "layers": "8", "resblock": True}, {}),
        ({"other": "yes", "more": True}, {}),
    ],
)
def test_what_the_known_good_configuration_has_under_the_path(
    config: dict[str, Any], told: dict[str, tuple[str, str, str | None]]
) -> None:
    memory = WorkingMemory()
    collect(memory, parse_config(Path("/model"), json.dumps(config).encode()), [], _USUAL)
    found = {
        fact["path"]: (fact["expected"], fact["actual"], fact["converted"]) for fact in memory.of("type_disagreement")
    }
    assert found == told
    assert silent(config, _USUAL) == bool(told)


@pytest.mark.parametrize(
    ("inner", "actual"), [(True, "boolean"), ([8], "array"), ("x", "string"), (None, None), ({}, None)]
)
def test_what_is_no_section_where_the_known_good_configuration_has_one(inner: Any, actual: str | None) -> None:
    memory = WorkingMemory()
    collect(memory, parse_config(Path("/model"), json.dumps({"inner": inner}).encode()), [], _USUAL)
    found = [(fact["path"], fact["expected"], fact["actual"]) for fact in memory.of("type_disagreement")]
    assert found == ([("inner", "dict", actual)] if actual else [])


@pytest.mark.parametrize(("name", "told"), [("rates", [("rates", "list", "number")]), ("eos_token_id", [])])
def test_a_number_where_the_known_good_configuration_has_a_list(name: str, told: list[tuple[str, str, str]]) -> None:
    memory = WorkingMemory()
    collect(memory, parse_config(Path("/model"), json.dumps({name: 10}).encode()), [], {name: [10, 6]})
    assert [(fact["path"], fact["expected"], fact["actual"]) for fact in memory.of("type_disagreement")] == told


def test_no_known_good_configuration_asks_for_a_closer_look() -> None:
    every = known_good_configurations().values()
    assert len(every) > 30
    assert [known.family for known in every if silent(known.config(), known.config())] == []
