import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.subjects import covers


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("decoder.hidden_size", "decoder.hidden_size"),
        ("decoder", "decoder.hidden_size"),
        ("layers.{0..31}.q_proj.weight", "layers.3.q_proj.weight"),
        ("layers.3.q_proj.weight", "layers.{0..31}.q_proj.weight"),
        ("layers.{0..31}", "layers.{30..40}.q_proj.weight"),
        ("a.{0..2}.b.{0..5}", "a.1.b.{5..9}.weight"),
        ("", "anything.at.all"),
    ],
)
def test_covers(claimed: str, name: str) -> None:
    assert covers(claimed, name)


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("decoder.hidden_size", "decoder"),
        ("dec", "decoder.hidden_size"),
        ("decoder.hidden", "decoder.hidden_size"),
        ("layers.{0..3}.weight", "layers.4.weight"),
        ("layers.{0..3}.weight", "layers.{4..8}.weight"),
        ("layers.{0..3}.weight", "layers.norm.weight"),
        ("layers.{0..3}.weight", "layers.1.bias"),
    ],
)
def test_does_not_cover(claimed: str, name: str) -> None:
    assert not covers(claimed, name)


@given(st.text(), st.text())
def test_any_name_covers_itself_and_what_lies_under_it(name: str, rest: str) -> None:
    assert covers(name, name)
    covers(name, rest)  # whatever the text, an answer and no error


@given(st.lists(st.text("abc0123456789_", min_size=1), min_size=1), st.integers(0, 10))
def test_a_leading_part_covers_the_whole(parts: list[str], length: int) -> None:
    assert covers(".".join(parts[: length + 1]), ".".join(parts))
