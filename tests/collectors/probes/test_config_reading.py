from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import config_reading as collector
from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.probes.config_reading import lost, reader_of
from mlx_diagnose.engine.memory import WorkingMemory

WRITTEN: dict[str, Any] = {"rope_theta": 5, "depth": {"rope_scaling": {"factor": 2}, "size": 1}, "layers": 2}


def test_keys_that_the_reader_lost(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(WRITTEN))
    read = {"rope_parameters": {"rope_theta": 5}, "depth": {"size": 1}, "layers": 2, "added": 1}
    assert lost(str(tmp_path), read) == ["rope_theta", "depth.rope_scaling"]
    assert lost(tmp_path, WRITTEN) == []
    assert lost(tmp_path / "nothing", read) == []
    assert lost("org/name", read) == []


def test_the_reader_is_told_by_the_source() -> None:
    assert reader_of(reader_of) == "transformers"
    assert reader_of(len) is None


def test_the_key_that_the_load_wanted() -> None:
    memory = WorkingMemory()
    error = {"type": "KeyError", "message": "'rope_scaling'", "attributes": {"key": "rope_scaling"}, "frames": []}
    message = {"keys": ["rope_theta", "depth.rope_scaling"], "package": "transformers"}
    collector.collect(memory, message, [ExceptionDoc.from_json(error)], {"transformers": "5.5.0"})
    facts = memory.of("config_key_lost")
    assert [(f["path"], f["version"], f["wanted"]) for f in facts] == [
        ("rope_theta", "5.5.0", False),
        ("depth.rope_scaling", "5.5.0", True),
    ]
