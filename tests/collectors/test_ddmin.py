"""Delta debugging: what is left holds, and nothing of it can be left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.ddmin import ddmin


@given(st.lists(st.integers(0, 30), unique=True), st.data())
def test_the_culprits_and_no_others_are_left(items: list[int], data: st.DataObject) -> None:
    wanted = set(data.draw(st.lists(st.sampled_from(items), unique=True))) if items else set()
    assert ddmin(items, lambda kept: wanted <= set(kept)) == [item for item in items if item in wanted]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 40))
def test_what_is_left_is_minimal_also_where_parts_interfere(items: list[int], least: int) -> None:
    def holds(kept: list[int]) -> bool:
        return sum(kept) >= least and len(kept) % 2 == len(items) % 2

    if not holds(items):
        return
    left = ddmin(items, holds)
    assert holds(left)
    assert not any(holds(left[:at] + left[at + 1 :]) for at in range(len(left)))


def test_a_search_that_gives_up_keeps_what_it_has() -> None:
    calls = iter([False, True])
    assert ddmin([1, 2, 3, 4], lambda kept: next(calls, False)) == [3, 4]
