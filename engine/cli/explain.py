"""``diagnose explain CODE``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mlx_diagnose.engine.cli._output import write
from mlx_diagnose.engine.cli._reporting import color_option
from mlx_diagnose.engine.diagnosis import UNKNOWN_RULE
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.report.view import ColorChoice, View, view_for


@click.command()
@click.argument("code")
@click.option("--rules", "rule_dirs", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="More rules.")
@click.option("--no-plugins", is_flag=True, help="Leave installed rule packs out.")
@color_option
def explain(code: str, rule_dirs: tuple[Path, ...], no_plugins: bool, color: ColorChoice) -> None:
    """Tell what a failure class or a rule means, and what helps.

    CODE is a failure class (config/renamed-key), an area of them (config), or a rule's id.
    """
    view = view_for(sys.stdout, color, False, os.environ)
    told = _explained(code.rstrip("/"), rule_dirs, not no_plugins, view)
    write("".join(f"{line}\n" for line in told), None)


def _explained(code: str, rule_dirs: tuple[Path, ...], plugins: bool, view: View) -> Iterator[str]:
    from mlx_diagnose.engine.report.explanation import area_lines, class_lines, rule_lines
    from mlx_diagnose.engine.rulebase.failure_classes import AREAS, UNKNOWN
    from mlx_diagnose.engine.rulebase.loader import load_rules
    from mlx_diagnose.engine.rulebase.problems import did_you_mean
    from mlx_diagnose.engine.rulebase.sources import default_sources
    from mlx_diagnose.knowledge_base.meanings import meanings

    known = meanings()
    if code in AREAS:
        names = (f"{code}/{name}" for name in AREAS[code])
        return area_lines(code, ((name, known[name]) for name in names), view)
    rules = load_rules(default_sources(rule_dirs, plugins))
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
