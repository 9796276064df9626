"""Values against annotations: what fits, what would fit converted, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.collectors.annotation_types import disagreement


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, "int"),
        (1, "float"),
        (1.5, "float"),
        ("a", "str"),
        (True, "bool"),
        ([1], "list[int]"),
        ([1, 2], "Tuple[int, ...]"),
        ({}, "Dict[str, Union[float, str]]"),
        (None, "Optional[int]"),
        (None, "int | None"),
        ("x", "Union[int, str]"),
        (3, "typing.Optional[int]"),
        (object(), "Any"),
        ("x", "SomethingElse"),
        ("x", "Literal['x']"),
        ("x", None),
        ("x", "int | SomethingElse"),
    ],
)
def test_what_fits_or_cannot_be_told(value: Any, annotation: str | None) -> None:
    assert disagreement(value, annotation) is None


@pytest.mark.parametrize(
    ("value", "annotation", "expected", "convertible", "converted"),
    [
        ("512", "int", "int", True, 512),
        (512.0, "int", "int", True, 512),
        (512.5, "int", "int", False, None),
        (True, "int", "int", False, None),
        ("1e-5", "float", "float", True, 1e-5),
        ("big", "float", "float", False, None),
        ("true", "bool", "bool", True, True),
        (1, "bool", "bool", True, True),
        (2, "bool", "bool", False, None),
        (1.0, "str", "str", True, "1.0"),
        ([1], "int", "int", True, 1),
        ([1, 2], "int", "int", False, None),
        (["1"], "int", "int", False, None),
        (8, "List[int]", "list", True, [8]),
        ("8, 5", "List[int]", "list", True, [8, 5]),
        ("[8, -5]", "List[int]", "list", True, [8, -5]),
        ("[8, 5", "List[int]", "list", False, None),
        ("8, 05", "List[int]", "list", False, None),
        ("a,b", "List[str]", "list", False, None),
        ([], "dict", "dict", False, None),
        (None, "int", "int", False, None),
        ("7", "Optional[int]", "int", True, 7),
        ({}, "'str | int'", "str", False, None),
    ],
)
def test_what_disagrees(value: Any, annotation: str, expected: str, convertible: bool, converted: Any) -> None:
    found = disagreement(value, annotation)
    assert found is not None
    assert (found.expected, found.convertible, found.converted) == (expected, convertible, converted)
    assert type(found.converted) is type(converted)


def test_a_section_is_an_object() -> None:
    found = disagreement("tiny", "DecoderConfig", nested=True)
    assert found is not None and (found.expected, found.convertible) == ("dict", False)
    assert disagreement({}, "DecoderConfig", nested=True) is None
    assert disagreement(None, "DecoderConfig", nested=True, nullable=True) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(_JSON, st.sampled_from(["int", "float", "bool", "str", "list", "dict", "Optional[int]", "int | str"]))
def test_what_was_converted_fits(value: Any, annotation: str) -> None:
    found = disagreement(value, annotation)
    if found is not None and found.convertible:
        assert disagreement(found.converted, annotation) is None


@given(st.text(max_size=30))
def test_no_annotation_makes_it_raise(annotation: str) -> None:
    disagreement(1, annotation)
