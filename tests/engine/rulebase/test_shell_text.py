"""Commands of rules: what a value holds never becomes a word, an option or a command of its own."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.shell_text import SHELL_FIELDS, shell_text
from mlx_diagnose.engine.rulebase.template import Place, parse_template
from mlx_diagnose.engine.vocabulary import VOCABULARY


def filled(template: str, value: Scalar) -> str | None:
    return shell_text(parse_template(template), lambda _: value)


@pytest.mark.parametrize(
    ("template", "value", "made"),
    [
        ("chmod u+r {file}", "config.json", "chmod u+r config.json"),
        ("chmod u+r {file}", "a b", "chmod u+r 'a b'"),
        ("chmod u+r {file}", "x; rm -rf ~", "chmod u+r 'x; rm -rf ~'"),
        ("rm {m.path}", "'a b'", "rm 'a b'"),
        ("pip install '{package}>=1'", "x'; y'", "pip install 'x'\"'\"'; y'\"'\"'>=1'"),
        ('echo "{x}"', '$(id)"`', 'echo "\\$(id)\\"\\`"'),
        ("hf download {r.fetch}", "org/x 'a b'", "hf download org/x 'a b'"),
        ("pip install {package}[[=={version}]]", None, None),
    ],
)
def test_a_value_is_quoted_for_where_it_stands(template: str, value: Scalar, made: str | None) -> None:
    assert filled(template, value) == made


def test_a_segment_without_a_value_is_left_out() -> None:
    def resolve(place: Place) -> Scalar:
        return "mlx" if place.name == "package" else None

    assert shell_text(parse_template("pip install {package}[[=={version}]]"), resolve) == "pip install mlx"


@given(
    st.text(st.characters(exclude_characters="\0")), st.sampled_from(["x {v} y", "x '{v}' y", 'x "{v}" y', "x a={v} y"])
)
def test_any_value_stays_one_word(value: str, template: str) -> None:
    words = shlex.split(filled(template, value) or "")
    assert len(words) == 3
    assert words[1].removeprefix("a=") in (value, *shlex_words(value))


def shlex_words(value: str) -> list[str]:
    """What a value means that was quoted already."""
    try:
        return shlex.split(value)
    except ValueError:
        return []


def test_the_fields_that_are_taken_as_they_are_are_declared_so() -> None:
    declared = {
        name
        for kind in VOCABULARY.values()
        for name, field in kind.fields.items()
        if "quoted for a shell" in field.doc or "as a shell takes it" in field.doc
    }
    assert declared - {"path"} == SHELL_FIELDS
