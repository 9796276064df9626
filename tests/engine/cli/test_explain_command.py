from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlx_diagnose.engine.report.view import View, cells
from mlx_diagnose.engine.rulebase.failure_classes import AREAS, FAILURE_CLASSES
from mlx_diagnose.knowledge_base.meanings import meanings

Command = Callable[..., Any]


def test_every_failure_class_has_its_meaning_and_no_other() -> None:
    assert list(meanings()) == list(FAILURE_CLASSES)
    for name, meaning in meanings().items():
        for text in (meaning.means, meaning.helps):
            assert text.endswith("."), name
            assert len(text) > 20, name


def test_a_class_with_its_rules(command: Command) -> None:
    ran = command("explain", "config/renamed-key")
    assert ran.code == 0
    assert ran.out.startswith("config/renamed-key\n")
    assert "Rules that find it\n" in ran.out
    assert "config-key-renamed " in ran.out


@pytest.mark.parametrize("code", ["config", "config/"])
def test_an_area_lists_its_classes(code: str, command: Command) -> None:
    told = command("explain", code).out
    for name in AREAS["config"]:
        assert f"\n  config/{name}\n" in told


@pytest.mark.parametrize("code", ["unknown", "unknown-failure"])
def test_the_unknown(code: str, command: Command) -> None:
    assert "no rule explains why" in command("explain", code).out


def test_a_rule(command: Command) -> None:
    ran = command("explain", "config-key-renamed")
    assert ran.code == 0
    for part in ("Fires when there is", "Concludes", "Prescribes", "Explains", "From", "config/renamed-key"):
        assert part in ran.out
    assert max(map(cells, ran.out.splitlines())) <= View().width


def test_color_only_on_demand(command: Command) -> None:
    assert "\x1b[" not in command("explain", "config").out
    assert "\x1b[1m" in command("explain", "config", "--color", "always").out
