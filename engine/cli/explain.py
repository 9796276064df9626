"""``diagnose explain CODE``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import color_option, no_plugins_option, read_rules, rules_option, screen, show
from mlx_diagnose.engine.diagnosis import UNKNOWN_RULE
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.report.view import ColorChoice, View


@click.command()
@click.argument("code")
@rules_option
@no_plugins_option
@color_option
def explain(code: str, rule_dirs: tuple[Path, ...], no_plugins: bool, color: ColorChoice) -> None:
    """Tell what a failure class or a rule means, and what helps.

    CODE is a failure class (config/renamed-key), an area of them (config), or a rule's id.
    """
    show(_explained(code.rstrip("/"), rule_dirs, no_plugins, screen(color)))


def _explained(code: str, rule_dirs: tuple[Path, ...], no_plugins: bool, view: View) -> Iterator[str]:
    from mlx_diagnose.engine.report.explanation import area_lines, class_lines, rule_lines
    from mlx_diagnose.engine.rulebase.failure_classes import AREAS, UNKNOWN
    from mlx_diagnose.engine.rulebase.problems import did_you_mean
    from mlx_diagnose.knowledge_base.meanings import meanings

    known = meanings()
    if code in AREAS:
        names = (f"{code}/{name}" for name in AREAS[code])
        return area_lines(code, ((name, known[name]) for name in names), view)
    rules = read_rules(rule_dirs, no_plugins)
    rule = rules.by_id.get(code)
    if rule is not None:
        return rule_lines(rule, known.get(rule.failure_class or ""), view)
    name = UNKNOWN if code == UNKNOWN_RULE else code
    if name in known:
        return class_lines(name, known[name], [rule for rule in rules.rules if rule.failure_class == name], view)
    raise UsageError(
        "no-such-code",
        f"{code!r} is neither a failure class nor a rule.",
        next_step=did_you_mean(code, [*known, *AREAS, *rules.by_id]) or "`diagnose rules list` names the rules.",
    )
