"""Texts with places: filled, never evaluated."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.rulebase.template import Place, TemplateError, parse_template

VALUES = {"a": "A", "n": 5, "f": 0.5, "b": True, "none": None, "brace": "{a}", "k.x": "field"}


def resolve(place: Place):
    return VALUES[place.name if place.field is None else f"{place.name}.{place.field}"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{a} and {n}, {f}, {b}", "A and 5, 0.5, true"),
        ("{k.x}", "field"),
        ("{{a}} {{{a}}}", "{a} {A}"),
        ("{none}", "(nothing)"),
        ("{brace}", "{a}"),
        ("x[[ in {a}]] y[[ in {none}]]", "x in A y"),
        ("[1] [[x]]", "[1] [[x]]"),
    ],
)
def test_filling(source, text):
    assert parse_template(source).text(resolve) == text


def test_one_place_alone_keeps_its_type():
    assert parse_template("{n}").value(resolve) == 5
    assert parse_template("{none}").value(resolve) is None
    assert parse_template("{n} ").value(resolve) == "5 "


def test_a_place_without_value_makes_a_name_none():
    assert parse_template("x.{none}").text_or_none(resolve) is None
    assert parse_template("x.{a}").text_or_none(resolve) == "x.A"


@pytest.mark.parametrize(
    "source", ["{", "}", "a } b", "{a", "{}", "{a.b.c}", "{a!r}", "{a:>5}", "{0}", "{a[0]}", "{a()}", "{ a }", "{{a}"]
)
def test_what_is_no_template(source):
    with pytest.raises(TemplateError):
        parse_template(source)


@given(st.text())
def test_any_text_with_doubled_braces_stands_for_itself(text):
    source = text.replace("[[", "[ [").replace("{", "{{").replace("}", "}}")
    assert parse_template(source).text(resolve) == text.replace("[[", "[ [")


@given(st.text(alphabet="{}[]ab. \n"))
def test_parsing_never_fails_otherwise(text):
    with contextlib.suppress(TemplateError):
        parse_template(text)
