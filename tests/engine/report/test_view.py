from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.engine.report.view import View, cells, home_relative, source_place, view_for


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "color", "environ", "expected"),
    [
        (True, "auto", {}, True),
        (False, "auto", {}, False),
        (True, "auto", {"NO_COLOR": "1"}, False),
        (True, "auto", {"NO_COLOR": ""}, True),
        (True, "auto", {"TERM": "dumb"}, False),
        (False, "auto", {"FORCE_COLOR": "1"}, True),
        (False, "auto", {"FORCE_COLOR": "0"}, False),
        (True, "auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (True, "never", {"FORCE_COLOR": "1"}, False),
        (False, "always", {"NO_COLOR": "1"}, True),
    ],
)
def test_color(terminal: bool, color: str, environ: dict[str, str], expected: bool) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert view_for(stream, color, False, environ).color is expected  # type: ignore[arg-type]


def test_glyphs_follow_the_encoding() -> None:
    assert view_for(Terminal("utf-8"), "auto", False, {}).glyph("✓", "+") == "✓"
    assert view_for(Terminal("ascii"), "auto", False, {}).glyph("✓", "+") == "+"


def test_what_is_no_terminal_is_80_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert view_for(io.StringIO(), "auto", False, {}).width == 80
    assert view_for(Terminal(), "auto", False, {}).width == 60
    monkeypatch.setenv("COLUMNS", "300")
    assert view_for(Terminal(), "auto", False, {}).width == 100


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Mn", "Me", "Mc"))), st.integers(20, 100))
def test_folding_keeps_every_character_and_the_width(text: str, width: int) -> None:
    view = View(width=width)
    folded = view.fold(text, "    ", "  > ")
    assert "".join("".join(folded).split()) == "".join(("  > " + text if text.split() else "").split())
    assert all(cells(line) <= width or (line.split()[-1].isascii() and len(line.split()) <= 2) for line in folded)
    assert all(line.startswith("    ") for line in folded[1:])


def test_a_path_is_never_broken_but_text_without_spaces_is() -> None:
    path = "/home/me/" + "models/" * 20
    assert View().fold(f"see {path} there", "  ") == ["  see", f"  {path}", "  there"]
    assert [cells(line) for line in View(width=40).fold("模" * 50, "  ")] == [40, 40, 26]


def test_a_wide_character_takes_two_cells() -> None:
    assert cells("模型") == 4
    assert View().cut("模型模型", 5) == "模型…"
    assert View(unicode=False).cut("abcdefgh", 6) == "abc..."


def test_paint_is_plain_without_color() -> None:
    assert View().paint("x", "red") == "x"
    assert View(color=True).paint("x", "red", "bold") == "\x1b[31;1mx\x1b[0m"


def test_places_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert source_place("/v/lib/python3.11/site-packages/mlx_audio/utils.py", 12) == "mlx_audio/utils.py:12"
    assert source_place("/home/me/model.py", None) == "~/model.py"
    assert home_relative("/home/melissa/model.py") == "/home/melissa/model.py"
