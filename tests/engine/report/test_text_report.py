from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from mlx_diagnose.engine.model import Finding, Fix, Report
from mlx_diagnose.engine.report.finding_text import patch_lines
from mlx_diagnose.engine.report.text import render
from mlx_diagnose.engine.report.view import View, cells

Sample = Callable[[str], Report]


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.mark.parametrize("name", ["loads", "fails", "warnings", "inconclusive", "static", "hostile"])
def test_report(name: str, sample: Sample, snapshot: SnapshotAssertion) -> None:
    assert render(sample(name), View()) == snapshot


@pytest.mark.parametrize("name", ["fails", "inconclusive", "warnings"])
def test_verbose_report(name: str, sample: Sample, snapshot: SnapshotAssertion) -> None:
    assert render(sample(name), View(verbose=True)) == snapshot


def test_ascii_report(sample: Sample, snapshot: SnapshotAssertion) -> None:
    shown = render(sample("fails"), View(unicode=False))
    assert shown.isascii()
    assert shown == snapshot


def test_colors_change_nothing_but_color(sample: Sample) -> None:
    for name in ("loads", "fails", "warnings", "inconclusive", "hostile"):
        colored = render(sample(name), View(color=True))
        assert "\x1b[" in colored
        assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(sample(name), View())


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_only_what_is_to_be_pasted_is_wider_than_the_view(width: int, sample: Sample) -> None:
    for name in ("loads", "fails", "warnings", "inconclusive", "static"):
        report = sample(name)
        pasted = [fix.command for found in report.findings for fix in found.fixes if fix.command]
        for line in render(report, View(width=width)).splitlines():
            assert cells(line) <= width or line.strip() in pasted or line.lstrip().startswith("+"), line


def test_a_hostile_report_cannot_steer_the_terminal_or_leak(sample: Sample) -> None:
    shown = render(sample("hostile"), View(verbose=True))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\ud800-\udfff]", shown)
    assert "hf_AbCd" not in shown


def test_the_value_of_hf_token_is_not_shown(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "kokoro-mine")
    assert "kokoro-mine" not in render(sample("fails"), View(verbose=True))


@given(st.text(), st.text())
def test_any_text_is_rendered_in_lines_of_its_own(title: str, excerpt: str) -> None:
    fix = Fix("x1", "package", title, "unverified", reason=excerpt, command=title, files=(excerpt,))
    found = Finding("f1", title, "code/init-error", "error", 0.5, None, title, excerpt, fixes=(fix,), excerpt=excerpt)
    shown = render(replace(_REPORT, findings=(found,)), View(verbose=True))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]", shown)


def test_long_excerpts_are_cut_around_the_caret(sample: Sample) -> None:
    found = sample("fails").findings[0]
    line = f'1 | {{{"x" * 300}"needle": 1{"y" * 300}}}'
    caret = f"  | {' ' * 301}^"
    report = replace(sample("fails"), findings=(replace(found, excerpt=f"config.json:1:302\n{line}\n{caret}"),))
    shown = render(report, View()).splitlines()
    at = next(number for number, text in enumerate(shown) if text.strip().endswith("^"))
    assert shown[at - 1][shown[at].index("^") :].startswith('"needle"')
    assert max(map(cells, shown[at - 1 : at + 1])) <= 80


def test_fixes_are_shown_verified_first_and_not_all(sample: Sample) -> None:
    fixes = tuple(Fix(f"x{number}", "package", f"way {number}", "unverified") for number in range(1, 5))
    fixes += (Fix("x9", "package", "the proven way", "verified"),)
    report = replace(sample("fails"), findings=(replace(sample("fails").findings[0], fixes=fixes),))
    shown = render(report, View())
    assert shown.index("the proven way") < shown.index("way 1")
    assert "way 3" not in shown
    assert "2 more with -v" in shown
    assert "way 4" in render(report, View(verbose=True))


def test_a_patch_reads_as_lines_of_json() -> None:
    patch = [
        {"op": "replace", "path": "/a~1b/n", "value": [1, "é"]},
        {"op": "copy", "from": "/x/y", "path": "/a~1b/z"},
        {"op": "move", "from": "/x/y", "path": "/top"},
        {"op": "test", "path": "/top", "value": 1},
        {"op": "remove", "path": "/list/0"},
        {"op": "add", "path": "", "value": {}},
    ]
    assert list(patch_lines(patch, View())) == [
        "in config.json, under a/b:",
        '  - "n"',
        '  + "n": [1, "é"]',
        '  copy x.y to "z"',
        "in config.json:",
        '  move x.y to "top"',
        "in config.json, under list:",
        '  - "0"',
        "in config.json:",
        '  + "": {}',
    ]


_REPORT: Report


@pytest.fixture(scope="module", autouse=True)
def _keep_a_report(sample: Sample) -> None:
    global _REPORT
    _REPORT = sample("loads")


def test_weight_map_environment_and_shim_are_told(sample: Sample) -> None:
    operations = ({"op": "rename", "from": "module.{rest}", "to": "{rest}"}, {"op": "drop", "name": "a\x1b[31m"})
    fix = Fix("x1", "weight-map", "Rename them", "verified", weight_map=operations, environment={"A": "1"}, shim="s")
    shown = render(replace(sample("fails"), findings=(replace(sample("fails").findings[0], fixes=(fix,)),)), View())
    assert 'rename "module.{rest}" to "{rest}"' in shown
    assert "\x1b" not in shown
    assert "with the environment A=1" in shown
    assert "with the loader shim s" in shown
