"""Parts of a text that are left out when they have nothing to say."""

from __future__ import annotations

import pytest

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.template import Place, Resolver, parse_template

TEXT = "it fails[[ in {e.file}:{e.line}]]: {e.type}[[ ({e.message})]]"


def filled(source: str, **values: Scalar) -> str:
    return parse_template(source).text(lambda place: values.get(place.field or place.name))


def test_a_segment_is_there_when_all_its_places_have_values() -> None:
    assert filled(TEXT, file="a.py", line=3, type="KeyError", message="'x'") == "it fails in a.py:3: KeyError ('x')"


def test_a_segment_is_left_out_when_one_place_is_null() -> None:
    assert filled(TEXT, file="a.py", line=None, type="KeyError") == "it fails: KeyError"


def test_null_outside_of_segments_is_still_said() -> None:
    assert filled(TEXT) == "it fails: (nothing)"


def test_a_null_segment_does_not_make_the_whole_text_null() -> None:
    template = parse_template("pip install {package}[[=={version}]]")
    assert template.text_or_none(_named("mlx", None)) == "pip install mlx"
    assert template.text_or_none(_named("mlx", "0.32.4")) == "pip install mlx==0.32.4"
    assert template.text_or_none(_named(None, "0.32.4")) is None


def _named(package: str | None, version: str | None) -> Resolver:
    return lambda place: {"package": package, "version": version}[place.name]


def test_places_of_segments_are_places_of_the_text() -> None:
    assert [str(place) for place in parse_template(TEXT).places] == ["{e.file}", "{e.line}", "{e.type}", "{e.message}"]
    assert parse_template("[[{a}]]").places == (Place("a"),)


@pytest.mark.parametrize("text", ["[[1, 2]]", "[ [x] ]", "[[", "]] [["])
def test_brackets_without_a_place_are_plain_text(text: str) -> None:
    assert filled(text) == text
