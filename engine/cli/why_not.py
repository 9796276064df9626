"""``diagnose why-not RUN RULE``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import color_option, no_plugins_option, read_rules, rules_option, screen, show
from mlx_diagnose.engine.model import Report, UsageError
from mlx_diagnose.engine.report.view import ColorChoice
from mlx_diagnose.engine.rulebase.loader import RuleBase
from mlx_diagnose.engine.rulebase.rule import Rule

#: Loads of a mended copy have facts of their own (``e1.stage-3``); what was asked about is the model as it is.
_OF_A_MENDED_COPY = re.compile(r"e\d+\.")


@click.command()
@click.argument("run")
@click.argument("rule")
@rules_option
@no_plugins_option
@color_option
def why_not(run: str, rule: str, rule_dirs: tuple[Path, ...], no_plugins: bool, color: ColorChoice) -> None:
    """Show which condition of a rule failed, and the least that would fire it.

    RUN is the id of a run, `last`, or a report file; RULE the id of a rule.
    """
    from mlx_diagnose.engine import runs
    from mlx_diagnose.engine.inference import explain
    from mlx_diagnose.engine.report.proof import why_not_lines

    report = runs.load(run)
    base = read_rules(rule_dirs, no_plugins)
    asked = _rule(base, rule)
    fired = [found for found in report.findings if found.rule == asked.id]
    answer = explain.why_not(asked, [fact for fact in report.facts if not _OF_A_MENDED_COPY.match(fact.id)])
    show(why_not_lines(answer, fired, _outside(base, asked, report), screen(color)))


def _rule(base: RuleBase, name: str) -> Rule:
    from mlx_diagnose.engine.rulebase.problems import did_you_mean

    found = base.by_id.get(name)
    if found is not None:
        return found
    off = next((entry for entry in base.entries if entry.id == name), None)
    raise UsageError(
        "no-such-rule",
        f"There is no rule {name!r} in force.",
        why=f"It is {off.status} by {off.by or off.file}." if off else "",
        next_step=did_you_mean(name, base.by_id) or "`diagnose rules list` names the rules.",
    )


def _outside(base: RuleBase, rule: Rule, report: Report) -> str | None:
    """Why the rule was not even tried on this model."""
    target, packages = report.target, report.patient.packages
    if rule in base.applicable(category=target.category, family=target.family, mlx_audio=packages.get("mlx-audio")):
        return None
    to = rule.applies_to
    categories = f"category {' or '.join(to.categories)}" if to.categories else "any category"
    families = "any family" if to.families == ("*",) else f"family {' or '.join(to.families)}"
    release = f"mlx-audio {to.mlx_audio}" if to.mlx_audio else "any mlx-audio"
    return f"It does not apply to this model: it is for {categories}, {families}, {release}."
