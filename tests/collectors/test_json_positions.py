"""The position scanner agrees with Python's parser on every value of every document."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.json_positions import MAX_POSITIONS, JsonPositions

_KEYS = st.text(max_size=8).filter(lambda key: "." not in key and key != "")
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


def _values(data: Any, path: str = "") -> dict[str, Any]:
    found = {path: data} if path else {}
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in items:
        found.update(_values(value, f"{path}.{name}" if path else str(name)))
    return found


@given(_DOCUMENTS, st.sampled_from([None, 1, "\t"]), st.booleans(), st.sampled_from([(",", ":"), (" , ", " : ")]))
def test_positions_agree_with_the_parser(
    data: Any, indent: int | str | None, ascii_only: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only, separators=separators)
    positions = JsonPositions(text)
    values = _values(data)
    assert positions.places.keys() == values.keys()
    decode = json.JSONDecoder().raw_decode
    for path, place in positions.places.items():
        assert decode(text, place.value)[0] == values[path]
        name = path.rpartition(".")[2]
        if text[place.key] == '"' and place.key != place.value:
            assert decode(text, place.key)[0] == name
        line, column = positions.line_column(place.key)
        before = text[: place.key].replace("\r\n", "\n").replace("\r", "\n")
        assert (line, column) == (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def test_lines_and_columns_are_those_an_editor_shows() -> None:
    positions = JsonPositions('{\r\n  "a": 1,\n  "b": {"c": [10, 20]}\n}\n')
    assert positions.of("a") == (2, 3)
    assert positions.of("b.c") == (3, 9)
    assert positions.of("b.c.1") == (3, 19)
    assert positions.of("b.d") is None


def test_the_last_of_a_duplicate_key_is_the_one_that_counts() -> None:
    positions = JsonPositions('{"a": {"x": 1},\n "b": 2,\n "a": {"x": 3, "x": 4}}')
    assert positions.of("a") == (3, 2)
    assert positions.of("a.x") == (3, 16)
    assert positions.duplicates == ("a", "a.x")
    assert (positions.overridden("a"), positions.overridden("a.x")) == ({"x": 1}, 3)


def test_deep_and_long_documents_are_scanned_in_bounded_space() -> None:
    deep = JsonPositions("[" * 100_000 + "]" * 100_000)
    assert 0 < len(deep.places) < 100
    long = JsonPositions(json.dumps(list(range(MAX_POSITIONS * 2))))
    assert len(long.places) == MAX_POSITIONS
