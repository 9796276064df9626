"""Configs shrink along their structure to what a failure needs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.config_edit import Path
from mlx_diagnose.engine.config_reduction import count, neutralise, reduce_config

KEYS = st.sampled_from(["a", "b", "c", "x.y"])
SCALARS = st.one_of(st.integers(-5, 99), st.booleans(), st.none(), st.text(max_size=3), st.floats(allow_nan=False))
CONFIGS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.dictionaries(KEYS, inner, max_size=3), st.lists(inner, max_size=3)),
        max_leaves=12,
    ),
    max_size=4,
)


def _paths(config: Any, path: Path = ()) -> list[Path]:
    """Paths through objects only: indices of lists move when something before them goes."""
    found: list[Path] = [path] if path else []
    if isinstance(config, dict):
        found += [inner for key, value in config.items() for inner in _paths(value, (*path, key))]
    return found


def _has(config: Any, path: Path) -> bool:
    for part in path:
        if not isinstance(config, dict) or part not in config:
            return False
        config = config[part]
    return True


@given(CONFIGS, st.data())
def test_what_is_needed_stays_and_nothing_else(config: dict[str, Any], data: st.DataObject) -> None:
    paths = _paths(config)
    wanted = data.draw(st.lists(st.sampled_from(paths), unique=True, max_size=3)) if paths else []
    before = repr(config)
    reduced = reduce_config(config, lambda changed: all(_has(changed, path) for path in wanted))
    assert set(_paths(reduced)) == {path[:end] for path in wanted for end in range(1, len(path) + 1)}
    assert repr(config) == before


def test_items_of_a_list_of_sections_go_one_by_one() -> None:
    config = {"parts": [{"n": 1}, {"n": 2, "m": 3}, {"n": 4}], "rates": [1, 2]}

    def holds(changed: dict[str, Any]) -> bool:
        return any(part.get("m") == 3 for part in changed.get("parts", ()))

    assert reduce_config(config, holds) == {"parts": [{"m": 3}]}


def test_values_that_do_not_matter_are_made_plain() -> None:
    config = {"width": 96, "heads": 7, "name": "x", "rates": [2, 4], "flag": True, "deep": {"eps": 0.1}}
    plain, neutral = neutralise(config, lambda changed: changed["heads"] == 7 and bool(changed["rates"]))
    assert plain == {"width": 1, "heads": 7, "name": "", "rates": [2, 4], "flag": True, "deep": {"eps": 1.0}}
    assert neutral == [("width",), ("name",), ("deep", "eps")]


def test_counting() -> None:
    assert count({}) == 0
    assert count({"a": 1, "b": {}, "c": [], "d": [1, 2, {"e": 3}]}) == 6
