"""Collapsing of tensor names: exact, never merging what differs, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.tensor_names import collapse, expand


def patterns(names: list[str]) -> list[str]:
    return [group.pattern for group in collapse((name, None) for name in names)]


def test_layers_become_one_name() -> None:
    groups = collapse((f"layers.{i}.q_proj.weight", (64, 64)) for i in range(32))
    assert [(g.pattern, g.count, g.example, g.key) for g in groups] == [
        ("layers.{0..31}.q_proj.weight", 32, "layers.0.q_proj.weight", (64, 64))
    ]


def test_unequal_shapes_are_kept_apart() -> None:
    names = [(f"layers.{i}.w", (64, 64) if i < 4 else (64, 32)) for i in range(6)]
    assert [(g.pattern, g.key) for g in collapse(names)] == [
        ("layers.{0..3}.w", (64, 64)),
        ("layers.{4..5}.w", (64, 32)),
    ]


def test_holes_and_several_numbers() -> None:
    assert patterns(["a.0.w", "a.1.w", "a.2.w", "a.3.w", "a.5.w"]) == ["a.{0..3,5}.w"]
    experts = [f"layers.{i}.experts.{j}.w" for i in range(4) for j in range(8)]
    assert patterns(experts) == ["layers.{0..3}.experts.{0..7}.w"]
    experts.remove("layers.2.experts.5.w")
    assert patterns(experts) == ["layers.{0..1,3}.experts.{0..7}.w", "layers.2.experts.{0..4,6..7}.w"]


def test_what_only_looks_like_a_number_stays() -> None:
    names = ["a.007.w", "a.7.w", "a.²", "a.3x", "conv1.w", "conv2.w", "", "5", "6", "a{1}.0", "a{1}.1"]
    assert patterns(names) == ["a.007.w", "a.7.w", "a.²", "a.3x", "conv1.w", "conv2.w", "", "{5..6}", "a{{1}}.{0..1}"]
    assert sorted(name for pattern in patterns(names) for name in expand(pattern)) == sorted(names)


def test_scattered_numbers_do_not_make_a_long_name() -> None:
    names = [f"a.{i * i}.w" for i in range(1000)]
    assert all(len(pattern) < 300 for pattern in patterns(names))
    assert sorted(name for pattern in patterns(names) for name in expand(pattern)) == sorted(names)


def test_a_name_of_nothing_but_numbers_is_survived() -> None:
    name = ".".join("0" for _ in range(20_000))
    assert patterns([name]) == [name]


def test_a_million_names_are_few_lines() -> None:
    names = (
        (f"layers.{i}.experts.{j}.{part}.weight", (2, 2)) for i in range(100) for j in range(1000) for part in range(10)
    )
    groups = collapse(names)
    assert [(g.pattern, g.count) for g in groups] == [("layers.{0..99}.experts.{0..999}.{0..9}.weight", 1_000_000)]


part = st.sampled_from(["a", "layers", "w", "0", "1", "2", "3", "10", "00", "", "{0..3}", "}", "{"]) | st.text(
    max_size=3
)
names = st.lists(part, min_size=1, max_size=6).map(".".join)


@given(st.dictionaries(names, st.sampled_from([(1,), (2,), (1, 2)]), max_size=40))
def test_expansion_gives_exactly_what_was_collapsed(table: dict[str, tuple[int, ...]]) -> None:
    groups = collapse(table.items())
    expanded = [(name, group.key) for group in groups for name in expand(group.pattern)]
    assert len(expanded) == len(table) == sum(group.count for group in groups)
    assert dict(expanded) == table
    assert all(group.example in table for group in groups)


grid = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), max_size=60)


@given(grid)
def test_every_set_of_numbers_is_covered_once(indices: set[tuple[int, int, int]]) -> None:
    names = {f"a.{i}.b.{j}.{k}.c" for i, j, k in indices}
    expanded = [name for group in collapse((name, None) for name in sorted(names)) for name in expand(group.pattern)]
    assert len(expanded) == len(names)
    assert set(expanded) == names
