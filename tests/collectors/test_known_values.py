"""config.json against known-good configurations: sizes that differ, and units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.config import parse_config
from mlx_diagnose.collectors.known_values import collect
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.knowledge_base.configurations import known_config, known_good_configurations


def _facts(config: dict[str, Any], family: str, **options: bool) -> WorkingMemory:
    memory = WorkingMemory()
    collect(memory, parse_config(Path("/m"), json.dumps(config, indent=1).encode()), "tts", family, **options)
    return memory


def _changed(family: str, path: str, value: object) -> dict[str, Any]:
    config = known_config(family)
    assert config is not None
    section: Any = config
    *parents, name = path.split(".")
    for parent in parents:
        section = section[parent]
    assert name in section
    section[name] = value
    return config


def test_a_rate_in_kilohertz_of_any_family_that_gives_one() -> None:
    tried = 0
    for category, family in known_good_configurations():
        config = known_config(family, category) or {}
        for name, value in config.items():
            if name in ("sample_rate", "sampling_rate") and isinstance(value, int) and value % 1000 == 0:
                memory = _facts({**config, name: value // 1000}, family, only_telling=True)
                (fact,) = memory.of("value_difference", aspect="unit")
                assert (fact["path"], fact["known"], fact["ratio"]) == (name, str(value), 0.001)
                assert (fact["known_unit"], fact["given_unit"]) == ("Hz", "kHz") and fact["line"]
                tried += 1
    assert tried >= 3


def test_a_size_that_is_none() -> None:
    def aspect(path: str, value: object) -> str:
        (fact,) = _facts(_changed("soprano", path, value), "soprano").of("value_difference")
        return str(fact["aspect"])

    assert aspect("num_attention_heads", 0) == aspect("hidden_size", -1) == aspect("num_hidden_layers", -2) == "sign"
    # There may be no layers of a kind, and a token may have the number 0.
    assert aspect("num_hidden_layers", 0) == aspect("eos_token_id", 0) == aspect("hidden_size", 1) == "value"


def test_sizes_are_told_without_a_unit_and_only_when_asked_for() -> None:
    config = _changed("soprano", "hidden_size", 512 * 1000)
    (fact,) = _facts(config, "soprano").of("value_difference")
    assert (fact["path"], fact["aspect"], fact["known_unit"]) == ("hidden_size", "value", None)
    assert _facts(config, "soprano", only_telling=True).of("value_difference") == []
    assert _facts(known_config("soprano") or {}, "soprano").of("value_difference") == []
    assert _facts({"hidden_size": 1}, "no_such_family").of("value_difference") == []
    assert _facts({"sample_rate": "24", "hidden_size": None}, "soprano", only_telling=True).of("value_difference") == []
