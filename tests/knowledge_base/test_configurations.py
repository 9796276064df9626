"""The reader of known-good configurations: fresh copies, and clear errors about damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.engine.model import ExitCode, RuleError
from mlx_diagnose.knowledge_base.configurations import KnownGood, known_good, read_tensor_table


def test_a_configuration_is_a_fresh_copy() -> None:
    entry = known_good("kokoro")
    assert entry is not None
    config = entry.config()
    config["istftnet"]["upsample_rates"] = None
    assert entry.config()["istftnet"]["upsample_rates"] == [10, 6]
    assert len(entry.config()["vocab"]) == 114


def test_what_is_not_known_is_none() -> None:
    assert known_good("no-such-family") is None
    assert known_good("kokoro", "stt") is None


def test_a_missing_configuration_is_an_error_of_the_knowledge_base() -> None:
    with pytest.raises(RuleError, match=r"no-such-family\.json of the knowledge base cannot be used") as raised:
        KnownGood("tts", "no-such-family", "minimal", "nowhere").config()
    assert raised.value.exit_code is ExitCode.INVALID_RULES


def test_tensor_tables_are_expanded(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text('{"model.safetensors": {"BF16": {"layers.{0..1}.weight": [2, 3]}, "F32": {"scale": []}}}')
    assert read_tensor_table(table) == {
        "model.safetensors": {
            "layers.0.weight": ("BF16", (2, 3)),
            "layers.1.weight": ("BF16", (2, 3)),
            "scale": ("F32", ()),
        }
    }


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"F32": {"x": 1}}}'])
def test_a_damaged_table_is_an_error_of_the_knowledge_base(tmp_path: Path, text: str) -> None:
    table = tmp_path / "table.json"
    table.write_text(text)
    with pytest.raises(RuleError, match=r"table\.json of the knowledge base cannot be used"):
        read_tensor_table(table)
