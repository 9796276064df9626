from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.report import sanitise
from mlx_diagnose.engine.report.sanitise import REDACTED, encodable, lines, one_line, redact

TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz12345678"


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "hf_" + "a" * 34,
        "hf_" + "Qw3rty789",
        "hf_oauth_" + "eyJhbGciOi.J9-x_y",
        "api_org_" + "AbCdEfGh12345678",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "token={}&x=1", "'{}'", "x\n{}\ny", "\\x00{}", "a\\n{}", "\\u200b{}", "see https://h.co/{}/x"]
)
def test_tokens_are_cut_out(secret: str, around: str) -> None:
    shown = redact(around.format(secret), ())
    assert secret not in shown
    assert secret[-8:] not in shown
    assert REDACTED in shown


@pytest.mark.parametrize(
    "word", ["hf_transfer", "hf_hub_download", "hf_repo", "import hf_xet", "huggingface_hub", "half_Width1"]
)
def test_ordinary_words_stay(word: str) -> None:
    assert redact(word, ()) == word


def test_other_secrets_are_cut_out() -> None:
    assert redact("Authorization: Bearer abcDEF123456", ()) == f"Authorization: Bearer {REDACTED}"
    assert redact("https://me:pa55@mirror.example/api", ()) == f"https://{REDACTED}@mirror.example/api"


def test_the_value_of_a_token_variable_is_cut_out_whatever_it_looks_like() -> None:
    environ = {"HF_TOKEN": " my secret value\n", "HUGGING_FACE_HUB_TOKEN": "another-secret", "HOME": "/home/me"}
    secrets = sanitise.tokens(environ)
    assert redact("a my secret value b another-secret /home/me", secrets) == f"a {REDACTED} b {REDACTED} /home/me"


def test_a_token_variable_that_is_hardly_a_token_does_not_eat_words() -> None:
    assert sanitise.tokens({"HF_TOKEN": "no"}) == ()


@given(st.text())
def test_no_line_holds_what_a_terminal_obeys_or_hides(text: str) -> None:
    for line in [*lines(text), one_line(text)]:
        for character in line:
            assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
            assert character not in "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
        line.encode("utf-8")


@given(st.text(st.characters(categories=("L", "N", "P", "Zs"), exclude_characters="_:")))
def test_harmless_text_is_left_alone(text: str) -> None:
    assert lines(text) == [text]


def test_what_is_hidden_is_shown_as_an_escape() -> None:
    assert one_line("a\x1b[31mb\u202ec\ud800d\U000e0041") == "a\\x1b[31mb\\u202ec\\ud800d\\U000e0041"
    assert lines("a\tb\r\nc") == ["a b", "c"]


@given(st.text())
def test_encodable_text_can_be_encoded(text: str) -> None:
    encodable(text + "\udcff").encode("utf-8")
