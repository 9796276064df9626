"""Changes of config.json that are worth a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors import config
from mlx_diagnose.collectors.candidates import _cut_lists, _overridden
from mlx_diagnose.collectors.config_edit import Edit
from mlx_diagnose.engine.memory import WorkingMemory

_KNOWN = {"generator": {"rates": [10, 6], "dilations": [[1, 3], [1, 3]]}, "width": 8}


@pytest.mark.parametrize(
    ("given", "edits"),
    [
        ({"generator": {"rates": [8]}}, [Edit("replace", ("generator", "rates"), [8, 6])]),
        ({"generator": {"rates": [8, 5, 2]}}, [Edit("replace", ("generator", "rates"), [8, 5])]),
        ({"generator": {"dilations": [[1, 3]]}}, [Edit("replace", ("generator", "dilations"), [[1, 3], [1, 3]])]),
        ({"generator": {"rates": [8, 5], "dilations": []}, "width": [8]}, []),
        ({"generator": {"rates": 10}}, [Edit("replace", ("generator", "rates"), [10, 6])]),
        ({"generator": 3}, []),
    ],
)
def test_lists_of_another_length_than_the_known_good_ones(given: dict[str, Any], edits: list[Edit]) -> None:
    assert [candidate.edit for candidate in _cut_lists(given, _KNOWN, "known")] == edits


def test_a_key_that_is_given_twice_may_be_meant_as_it_stands_first(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": {"width": 64, "width": 96}, "b": 1, "b": 1}')
    memory = WorkingMemory()
    config.collect(memory, tmp_path)
    assert [candidate.edit for candidate in _overridden(memory)] == [Edit("replace", ("a", "width"), 64)]
